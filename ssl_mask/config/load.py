"""What a run is asked to do: one frozen tree of settings, unknown keys refused, every problem reported at once.

Later sources win: the defaults below, the preset (`configs/<preset>.yaml`), `sslmask.yaml` in the working folder,
`--config`, then `--set key=value` and the flags. The resolved tree is saved in every run as `config.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ssl_mask.config.factors import common_keys, factor_tree
from ssl_mask.config.run import RunConfig
from ssl_mask.config.tree import merge, merged, nest, settle_length
from ssl_mask.config.yaml import parse_yaml
from ssl_mask.errors import ConfigError, did_you_mean
from ssl_mask.reading import one_line, read_text, reading

PROJECT_FILE = "sslmask.yaml"


def configs_folder() -> Path:
    """Where the shipped `*.yaml` are: inside the wheel, or at the top of a source checkout."""
    package = Path(__file__).parents[1]
    return next(p for p in (package / "configs", package.parent / "configs") if p.is_dir())


def read_config_file(name: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, given by path or by the stem of a shipped one.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        shipped = {p.stem: p for p in configs_folder().glob("*.yaml")}
        if str(name) not in shipped:
            raise ConfigError(f"No config named {str(name)!r}.", hint=did_you_mean(str(name), list(shipped)))
        path = shipped[str(name)]
    with reading(path, ConfigError):
        content = parse_yaml(read_text(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, but holds a {type(content).__name__}.")
    return content


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`["optim.lr=3e-4"]` as a nested mapping; values are read as YAML.

    Raises:
        ConfigError: an item without `=`, or a value that is not YAML.
    """
    tree: dict[str, Any] = {}
    for item in assignments:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {one_line(item)!r} is not of the form section.key=value.")
        try:
            value = parse_yaml(text)
        except ValueError as error:
            raise ConfigError(f"--set {one_line(item)!r}: {error}.") from error
        tree = merge(tree, nest(key.strip(), value))
    return tree


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU. It is loaded for that, so this is asked only where the preset is `auto`."""
    import torch

    return bool(torch.cuda.is_available())


def resolve(
    layers: Iterable[Mapping[str, Any]], *, has_gpu: Callable[[], bool] = has_gpu, recipe: str = ""
) -> RunConfig:
    """Merge layers (later wins) over the preset that they name and validate the whole.

    Args:
        layers: mappings, from the project file to the command line.
        has_gpu: asked only when the preset is `auto`.
        recipe: the beginning of the name of the preset that `auto` takes, such as `pseudo_`.

    Raises:
        ConfigError: lists every problem, each with its key.
    """
    asked = merged(layers)
    preset = asked.get("preset", "auto")
    if preset == "auto":
        algorithm = asked.get("algorithm")
        labels_only = not isinstance(algorithm, Mapping) or algorithm.get("name", "supervised") == "supervised"
        preset = recipe + ("" if labels_only else "uda_") + ("gpu" if has_gpu() else "laptop")
    base = settle_length(_read_preset(str(preset)), asked)
    return validate(merge(merge(base, asked), {"preset": str(preset)}))


def _read_preset(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A preset over the one that it names itself (`preset: laptop` in uda_laptop.yaml).

    Args:
        above: the presets that lead to it.
    """
    if name == "none":
        return {}
    if name in above:
        chain = " -> ".join([*above, name])
        raise ConfigError(f"preset: {name} is built on itself ({chain}).", hint="Remove `preset:` from one of them.")
    content = read_config_file(name)
    below = content.pop("preset", None)
    if below is None:
        return content
    return merge(settle_length(_read_preset(str(below), (*above, name)), content), content)


def validate(tree: Mapping[str, Any], where: Path | None = None) -> RunConfig:
    """A mapping as a RunConfig; all problems in one ConfigError, which names the file `where` if there is one."""
    config, lines = _checked(tree)
    if config is not None:
        lines = [line for name in config.factors for line in _problems_of_factor(config, name)]
        if not lines:
            return config
    called = "The configuration" if where is None else f"The configuration {where}"
    raise ConfigError(f"{called} has a problem:\n" + "\n".join(f"  {line}" for line in lines))


def _checked(tree: Mapping[str, Any], above: str = "") -> tuple[RunConfig | None, list[str]]:
    """The mapping as a RunConfig, or its problems, a line each.

    Args:
        above: the key below which the mapping stands in the configuration.
    """
    try:
        return RunConfig.model_validate(dict(tree)), []
    except ValidationError as error:
        return None, [explain(e, RunConfig, above) for e in error.errors()]


def _problems_of_factor(config: RunConfig, name: str) -> list[str]:
    """What is wrong with the settings of one factor, a line each."""
    above = f"factors.{name}"
    shared = [
        f"{above}.{key}: this setting is the same for all factors. Set {key} itself, outside of factors."
        for key in common_keys(config.factors[name])
    ]
    return shared or _checked(factor_tree(config, name), above)[1]


def explain(problem: Mapping[str, Any], model: type[BaseModel], above: str = "") -> str:
    """One pydantic problem as `key: what is wrong`, with the closest known key for an unknown one.

    Args:
        above: the key below which the settings of `model` stand.
    """
    where = [str(part) for part in problem["loc"]]
    key = ".".join([above, *where] if above else where)
    if problem["type"] == "extra_forbidden":
        return f"{key}: no such key. {did_you_mean(where[-1], _keys_at(model, where[:-1]))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    given = problem.get("input")
    shown = "" if isinstance(given, dict | list | tuple | BaseModel) else f" (got {one_line(repr(given))})"
    return f"{one_line(key)}: {message}{shown}" if key else message  # without a key: settings that do not go together


def _keys_at(model: type[BaseModel], where: list[str]) -> list[str]:
    for part in where:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def to_yaml(config: RunConfig) -> str:
    """The whole tree as YAML; reading it back gives an equal config."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def load_config(*layers: Mapping[str, Any], preset: str | None = None) -> RunConfig:
    """A RunConfig for the API: `load_config({"data": {"root": "faces"}, "train": {"steps": 300}})`.

    Args:
        layers: nested mappings; later ones win.
        preset: as `--set preset=…`; not given: `auto`.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}, "train": {"steps": 12}}, preset="laptop")
        >>> config.train.steps
        12
    """

    return resolve([*layers, *([{"preset": preset}] if preset else [])])
