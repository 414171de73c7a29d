"""Flags that several verbs share, and how they become one configuration. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DataFolder = Annotated[Path | None, typer.Option("--data", help="The data set's folder. [default: this folder]")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
ConfigFile = Annotated[
    list[str] | None,
    typer.Option(
        "--config", "-c", help="A YAML file, or the name of a shipped one (laptop, gpu). Repeatable; later wins."
    ),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Change one key: --set optim.lr=3e-4. Repeatable.")
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run. [default: the verb and a number]")]
RunsOption = Annotated[Path | None, typer.Option("--runs", help="Folder that holds the runs. [default: runs]")]
Seed = Annotated[int | None, typer.Option("--seed", help="Same seed, same machine, same result.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Optimizer steps.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes over the training images, instead of steps.")]
Resume = Annotated[
    str | None,
    typer.Option("--resume", help="Continue a run exactly: its name, path, or `latest`. With --steps: go further."),
]
InitFrom = Annotated[str | None, typer.Option("--init-from", help="Start from a run's best weights.")]
UnlabeledSources = Annotated[
    list[str] | None,
    typer.Option("--unlabeled", "-u", help="Folder, glob or CSV of unlabeled images. Repeatable. Labels are not read."),
]
OnBadUnlabeled = Annotated[
    str | None, typer.Option("--on-bad", help="Unreadable unlabeled images: `fail` or `skip`. [default: fail]")
]
GuardMode = Annotated[
    str | None, typer.Option("--guard", help="`off`: compare nothing; every score is then not-checked. [default: on]")
]
Protect = Annotated[
    list[str] | None, typer.Option(help="More test images: folder, quoted glob or CSV. Repeatable. Never trained on.")
]
DropOverlap = Annotated[bool, typer.Option("--drop-overlap", help="Leave out what overlaps validation or test images.")]
Allow = Annotated[Path | None, typer.Option(help="CSV of pairs that may stand on both sides: first,second,reason.")]
Transductive = Annotated[
    bool, typer.Option("--transductive", help="Declare that unlabeled images may be test images; all scores say so.")
]
Reason = Annotated[str | None, typer.Option("--reason", help="With --transductive: who declares it, and why.")]
AllowedBy = Annotated[str | None, typer.Option("--allowed-by", help="With --transductive: which rule allows it.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check configuration and data, run two steps, print time and memory.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def training_flags(
    data: Path | None, name: str | None, runs: Path | None, seed: int | None, steps: int | None, epochs: float | None,
    init_from: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The flags of a verb that trains, by the keys they set."""
    return {
        "data.root": str(data) if data is not None else None,
        "name": name,
        "runs": str(runs) if runs is not None else None,
        "seed": seed,
        "train.steps": steps,
        "train.epochs": epochs,
        "init_from": init_from,
    }


def guard_flags(
    mode: str | None, protect: list[str] | None, drop_overlap: bool, allow: Path | None, transductive: bool = False,
    reason: str | None = None, allowed_by: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The leakage guard's flags, by the keys they set."""
    return {
        "guard.mode": mode,
        "guard.protected": protect or None,
        "guard.drop_overlap": drop_overlap or None,
        "guard.allow": str(allow) if allow is not None else None,
        "guard.transductive": transductive or None,
        "guard.reason": reason,
        "guard.allowed_by": allowed_by,
    }


def length_of(steps: int | None, epochs: float | None) -> dict[str, float]:
    """The length that --resume may change."""
    return {k: v for k, v in (("steps", steps), ("epochs", epochs)) if v is not None}


def gather(
    config: list[str] | None, assignments: list[str] | None, flags: dict[str, Any], *, project: bool = True
) -> list[dict[str, Any]]:
    """The layers of a configuration, weakest first: sslmask.yaml here, --config files, --set, then flags.

    Args:
        flags: dotted key -> value; None means that the flag was not given.
    """
    from ssl_mask.config import PROJECT_FILE, nest, parse_assignments, read_config_file

    layers = [read_config_file(Path(PROJECT_FILE))] if project and Path(PROJECT_FILE).is_file() else []
    if layers:
        typer.echo(f"Settings from ./{PROJECT_FILE}", err=True)
    layers += [_named(name) for name in config or []]
    layers.append(parse_assignments(assignments or []))
    layers += [nest(key, value) for key, value in flags.items() if value is not None]
    return layers


def _named(name: str) -> dict[str, Any]:
    """A --config file; a shipped preset also becomes the preset, so that no other one shines through."""
    from ssl_mask.config import read_config_file

    content = read_config_file(name)
    is_stem = Path(name).suffix not in {".yaml", ".yml"}
    return {"preset": name, **content} if is_stem else content
