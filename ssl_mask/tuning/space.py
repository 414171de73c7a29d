"""The search space: a YAML file that says which settings are searched, and between which values.

    optim.lr: {low: 1e-4, high: 3e-3, log: true}
    train.batch_size: {low: 16, high: 64, step: 16}
    model.backbone: [embedded, resnet18]
    model.freeze_norm: [true, false]

Every value of a list and both ends of a range must be ones that the configuration takes, so that nothing is found
out by training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_mask.config import RunConfig, merge, nest, read_config_file, settle_length, validate
from ssl_mask.config.load import configs_folder
from ssl_mask.errors import ConfigError, did_you_mean
from ssl_mask.reading import one_line

RANGE = {"low", "high", "log", "step"}
COMPARED = "all trials are scored on the same images and folds, so it cannot differ between them."
LUCK = "a seed is luck, not a setting: its best value means nothing on other images."
PLACE = "it names a place, not a setting that could be better or worse."
FIXED = dict.fromkeys(
    ("data.root", "data.layout", "data.folds", "data.fold", "data.factor", "data.validation", "data.given_split",
     "data.min_groups", "data.corrections", "data.extra_labels", "data.on_bad", "data.outside_root", "data.max_pixels"),
    COMPARED,
) | {
    "seed": LUCK, "data.split_seed": LUCK, "runs": PLACE, "name": PLACE, "data.cache": PLACE,
    "preset": "name its settings one by one, or begin a search for each preset.",
    "guard": "the leakage guard is not a setting that could be better or worse.",
    "pseudo": "trials train without rounds of pseudo-labels.",
    "factors": "search one factor at a time, with data.factor.",
    "factor_prior": "it changes no training.",
    "train.keep": "it changes no training.",
    "train.last_weights": "it changes no training.",
}  # fmt: skip
"""What cannot be searched, and why."""


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as words: a journal keeps words and numbers only."""
        return tuple(label(v) for v in self.values)

    def value(self, asked: Any) -> Any:
        return self.values[self.labels.index(asked)]

    def find(self, value: Any) -> Any:
        """What stands for a value in the journal, or None where it is none of the choices."""
        return label(value) if label(value) in self.labels else None


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def value(self, asked: Any) -> Any:
        return asked

    def find(self, value: Any) -> Any:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        return value if self.step is None or _is_whole((value - self.low) / self.step) else None


Dimension = Choice | Range
Space = Mapping[str, Dimension]
"""Key of a setting -> its values."""


def logarithmic(space: Space) -> list[str]:
    """Settings that are searched by their order of magnitude."""
    return [key for key, dimension in space.items() if isinstance(dimension, Range) and dimension.log]


def label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_space(path: Path) -> dict[str, Any]:
    """The keys of a space file, or of a shipped space by its name, and what it says of each, unchecked.

    Raises:
        ConfigError: no such file, not YAML, not a mapping, or empty.
    """
    shipped = {p.stem: p for p in (configs_folder() / "spaces").glob("*.yaml")}
    path = shipped.get(str(path), path)
    if not path.is_file():
        hint = f"--space takes a YAML file, with lines like optim.lr: [1e-3, 3e-3]. Shipped: {', '.join(shipped)}."
        raise ConfigError(f"No file {path}.", hint=hint)
    content = dict(_flat(read_config_file(path)))
    if not content:
        raise ConfigError(f"{path} names no setting.", hint="Add a line such as: optim.lr: [1e-3, 3e-3]")
    return content


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings may be written with dots, or below their section as in a configuration."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and not RANGE & value.keys():
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def parse_space(content: Mapping[str, Any], base: RunConfig, where: str) -> dict[str, Dimension]:
    """Check a space against the configuration that it changes.

    Args:
        base: the default configuration.
        where: the file, for the message.

    Raises:
        ConfigError: lists every problem, each with its key.
    """
    space: dict[str, Dimension] = {}
    problems: list[str] = []
    for key, given in content.items():
        try:
            _refuse_key(key)
            space[key] = _range(key, given) if isinstance(given, Mapping) else _choice(given)
            ends = space[key]
            for value in ends.values if isinstance(ends, Choice) else (ends.low, ends.high):
                _refuse_value(base, key, value)
        except ValueError as error:
            problems.append(f"  {one_line(key)}: {error}")
    if problems:
        raise ConfigError(f"The search space {where} has a problem:\n" + "\n".join(problems))
    return space


def changed(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The configuration with some settings changed.

    Raises:
        ConfigError: the settings do not go together.
    """
    tree = base.model_dump(mode="json")
    for key, value in values.items():
        change = nest(key, value)
        tree = merge(settle_length(tree, change), change)
    return validate(tree)


def value_of(config: RunConfig, key: str) -> Any:
    """The value of a setting, as JSON has it; None where an option of a layout is not set."""
    found: Any = config.model_dump(mode="json")
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def default_params(base: RunConfig, space: Space) -> dict[str, Any]:
    """Where the default is in the space: key -> what the journal has for it. Empty where it is outside of it."""
    found = {key: dimension.find(value_of(base, key)) for key, dimension in space.items()}
    return {} if any(v is None for v in found.values()) else found


def _refuse_key(key: str) -> None:
    """Raises ValueError for what is no setting, or one that must not be searched."""
    for fixed, why in FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise ValueError(f"cannot be searched: {why}")
    if _annotation(key) is None:
        known = [k for k in _keys(RunConfig) if not any(k == f or k.startswith(f"{f}.") for f in FIXED)]
        raise ValueError(f"no such setting. {did_you_mean(key, known)}")


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _annotation(key: str) -> Any:
    """The type of a setting; None where there is no such setting, or it is a whole section."""
    found: Any = RunConfig
    for part in key.split("."):
        if get_origin(found) is dict:
            return Any
        if not (isinstance(found, type) and issubclass(found, BaseModel)) or part not in found.model_fields:
            return None
        found = found.model_fields[part].annotation
    return None if isinstance(found, type) and issubclass(found, BaseModel) else found


def _types(annotation: Any) -> set[Any]:
    """The plain types in an annotation: of `PositiveFloat | None` float and None."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    inner = [a for a in get_args(annotation) if get_origin(annotation) is not dict]
    return {annotation}.union(*(_types(a) for a in inner)) if inner else {annotation}


def _choice(given: Any) -> Choice:
    if not isinstance(given, list):
        raise ValueError(f"give a list of values, or low and high, not {one_line(repr(given))}")
    if len({label(v) for v in given}) < 2:
        raise ValueError("give two different values or more; a single value belongs into --set or -c")
    if len({label(v) for v in given}) < len(given):
        raise ValueError("a value is in the list twice")
    return Choice(tuple(given))


class _Ends(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    log: bool = False
    step: float | None = None


def _range(key: str, given: Mapping[str, Any]) -> Range:
    types = _types(_annotation(key))
    if not types & {int, float, Any}:
        raise ValueError("it is not a number, so it has no low and high: give a list of values")
    try:
        ends = _Ends.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"{name}: {first['msg']}; a range has low, high and, if you like, log or step") from None
    low, high, step = ends.low, ends.high, ends.step
    whole = float not in types and all(_is_whole(v) for v in (low, high, step or 1))
    if float not in types and not whole and int in types:
        raise ValueError("low, high and step must be whole numbers")
    if low >= high:
        raise ValueError(f"the range is empty: low {low:g} is not below high {high:g}")
    if ends.log and (low <= 0 or step is not None):
        raise ValueError("log needs low above 0, and no step")
    if step is not None and (step <= 0 or not _is_whole((high - low) / step)):
        raise ValueError(f"high must be low plus some steps: {low:g} plus steps of {step:g} never gives {high:g}")
    kind = int if whole else float
    return Range(kind(low), kind(high), ends.log, None if step is None else kind(step), whole)


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9 * max(1.0, abs(number))


def _refuse_value(base: RunConfig, key: str, value: Any) -> None:
    if (key, value) == ("train.batch_size", "auto"):
        raise ValueError("the value auto is refused: all folds of a trial need one number")
    try:
        changed(base, {key: value})
    except ConfigError as error:
        lines = error.problem.split("\n")[1:]
        raise ValueError(f"the value {label(value)} is refused: {lines[0].strip().removeprefix(f'{key}: ')}") from None
