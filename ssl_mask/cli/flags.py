"""Flags that set a setting. Here is only how each is spelled; all the rest comes from the field in `ssl_mask.config`.

A verb says which settings it takes (`@takes("data.root", "train.steps")`) and gets what the command line gave of them.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from ssl_mask.config import PROJECT_FILE, RunConfig, merged, nest, parse_assignments, read_config_file, validate

PANELS: dict[str, dict[str, tuple[str, ...]]] = {
    "Data": {
        "data.root": ("--data",),
        "data.on_bad": ("--on-bad",),
        "data.cache": ("--cache",),
        "augment.preset": ("--preset",),
    },
    "Unlabeled images": {"data.unlabeled": ("--unlabeled", "-u")},
    "Training": {
        "train.steps": ("--steps",),
        "train.epochs": ("--epochs",),
        "seed": ("--seed",),
        "algorithm.name": ("--algorithm",),
        "init_from": ("--init-from",),
    },
    "Pseudo-labels": {
        "pseudo.rounds": ("--rounds",),
        "pseudo.rule": ("--rule",),
        "pseudo.target_precision": ("--target-precision",),
        "pseudo.threshold": ("--threshold",),
        "pseudo.labels": ("--labels",),
        "pseudo.teachers": ("--teacher",),
        "pseudo.agreement": ("--agreement",),
        "pseudo.warm_start": ("--warm-start",),
        "pseudo.group_consistency": ("--group-consistency",),
        "pseudo.from_predictions": ("--from-predictions",),
    },
    "Leakage guard": {
        "guard.mode": ("--guard",),
        "guard.protected": ("--protect",),
        "guard.drop_overlap": ("--drop-overlap",),
        "guard.allow": ("--allow",),
        "guard.transductive": ("--transductive",),
        "guard.leaked": ("--leaked",),
        "guard.reason": ("--reason",),
        "guard.allowed_by": ("--allowed-by",),
    },
    "Prediction": {"data.max_pixels": ("--max-pixels",)},
    "Settings": {},
    "Output": {"name": ("--name",), "runs": ("--runs",)},
}
"""Group of the help -> key of a setting -> how its flag is spelled."""
PANEL_OF = {key: panel for panel, flags in PANELS.items() for key in flags}
FROM_PRESET = frozenset({"train.steps", "train.epochs", "algorithm.name", "pseudo.labels", "pseudo.target_precision",
                         "pseudo.rule", "pseudo.threshold", "augment.preset"})  # fmt: skip
"""Settings that a shipped preset gives: what counts where no flag is given is not the field's default."""

TRAINING = ("data.root", "data.on_bad", "train.steps", "train.epochs", "seed", "name", "runs")
GUARD = ("guard.mode", "guard.protected", "guard.drop_overlap", "guard.allow")
DECLARED = ("guard.transductive", "guard.reason", "guard.allowed_by")
LEAKED = ("guard.leaked", "guard.reason", "guard.allowed_by")
UNLABELED = ("data.unlabeled", "algorithm.name")

ConfigFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--config", "-c", metavar="<file>", rich_help_panel="Settings",
        help="A YAML file, or the name of a shipped one (laptop, gpu). May be repeated; the last one wins.",
    ),
]  # fmt: skip
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="<key=value>", rich_help_panel="Settings",
        help="Change any setting, such as --set optim.lr=3e-4. May be repeated; the last one wins.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Given:
    """What the command line gave of the settings."""

    flags: Mapping[str, Any]
    """Key of a setting -> the value of its flag; only flags that were given."""
    files: Sequence[str] = ()
    """`--config`"""
    assignments: Sequence[str] = ()
    """`--set`"""

    def alone(self) -> RunConfig:
        """The flags over the defaults: for a verb that reads no configuration files. Raises ConfigError."""
        return validate(merged(nest(key, value) for key, value in self.flags.items()))

    @property
    def length(self) -> dict[str, float]:
        """`steps` or `epochs`, where given: what --resume may change."""
        return {name: self.flags[f"train.{name}"] for name in ("steps", "epochs") if f"train.{name}" in self.flags}

    def layers(self, *, quiet: bool = False) -> list[dict[str, Any]]:
        """The layers of a configuration, weakest first: sslmask.yaml here, --config files, --set, then flags."""
        layers = [read_config_file(Path(PROJECT_FILE))] if Path(PROJECT_FILE).is_file() else []
        if layers and not quiet:
            print(f"Settings from ./{PROJECT_FILE}", file=sys.stderr)
        return layers + self.asked()

    def asked(self) -> list[dict[str, Any]]:
        """The layers of this command line alone: --config files, --set, then flags."""
        named = [_named(name) for name in self.files]
        return [*named, parse_assignments(self.assignments), *(nest(key, value) for key, value in self.flags.items())]


def _named(name: str) -> dict[str, Any]:
    """A --config file; a shipped preset also becomes the preset, so that no other one shines through."""
    content = read_config_file(name)
    is_stem = Path(name).suffix not in {".yaml", ".yml"}
    return {"preset": name, **content} if is_stem else content


def takes(
    *keys: str, files: bool = True, shown: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb a flag for each of these settings. Its first parameter is a `Given`; the others are its own flags.

    Args:
        keys: of settings, such as `data.root`.
        files: also take `--config` and `--set`.
        shown: key -> what the help says about the default, where the verb has one of its own.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
        parameters = [_parameter(key, (shown or {}).get(key)) for key in keys]
        if files:
            parameters += [_keyword("config", ConfigFiles, None), _keyword("assignments", Assignments, None)]
        parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

        def call(context: typer.Context, **values: Any) -> None:
            flags = {key: values.pop(_identifier(key)) for key in keys}
            given = {k: v for k, v in flags.items() if _was_given(context, _identifier(k))}
            more = [values.pop(name) or () for name in ("config", "assignments")] if files else []
            verb(Given(given, *more), **values)

        call.__name__, call.__doc__ = verb.__name__, unwrap(verb.__doc__ or "")
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        signature = inspect.Signature([context, *sorted(parameters, key=_place)])
        vars(call).update(__signature__=signature, __annotations__={})
        return call

    return decorate


def unwrap(text: str) -> str:
    """Text whose paragraphs are a line each, for the width of the terminal to break."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def field_of(key: str) -> FieldInfo:
    """The field of a setting in `RunConfig`."""
    *sections, name = key.split(".")
    model = RunConfig
    for section in sections:
        model = model.model_fields[section].annotation  # type: ignore[assignment]
    return model.model_fields[name]


def _parameter(key: str, shown: str | None) -> inspect.Parameter:
    """The flag of a setting, as a parameter that Typer reads."""
    field = field_of(key)
    kind, choices = _kind(field.annotation)
    default = field.get_default(call_default_factory=True)
    if shown is None and key in FROM_PRESET:
        shown = "the preset's"
    option = typer.Option(
        *PANELS[PANEL_OF[key]][key],
        help=unwrap(field.description or ""),
        metavar=f"<{'|'.join(choices)}>" if 0 < len("".join(choices)) <= 10 else _METAVARS[kind],
        show_default=shown or True,
        autocompletion=(lambda: list(choices)) if choices else None,
        rich_help_panel=PANEL_OF[key],
    )
    return _keyword(_identifier(key), Annotated[kind, option], list(default) if isinstance(default, tuple) else default)


_METAVARS: dict[Any, str | None] = {str: "<text>", list[str]: "<path>", Path: "<path>", int: "<number>",
                                    float: "<number>", bool: ""}  # fmt: skip


def _kind(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """The type that the command line reads, and the choices where there are some. The configuration checks them."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return _kind(next(a for a in get_args(annotation) if a is not type(None)))
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    return (list[str] if get_origin(annotation) is tuple else annotation), ()


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _identifier(key: str) -> str:
    return key.replace(".", "_")


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _place(parameter: inspect.Parameter) -> int:
    """Arguments first; then the flags of one group of the help stand together."""
    options: Iterator[OptionInfo] = (a for a in get_args(parameter.annotation) if isinstance(a, OptionInfo))
    option = next(options, None)
    return -1 if option is None else list(PANELS).index(option.rich_help_panel or "Output")
