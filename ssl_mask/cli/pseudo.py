"""`sslmask pseudo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.options import (
    Allow,
    AllowedBy,
    Assignments,
    ConfigFile,
    DataFolder,
    DropOverlap,
    Epochs,
    GuardMode,
    Name,
    OnBadUnlabeled,
    Protect,
    Quiet,
    Reason,
    RunsOption,
    Seed,
    Steps,
    Transductive,
    UnlabeledSources,
    gather,
    guard_flags,
    training_flags,
)


def pseudo(
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds after round 0, which knows labels only.")] = None,
    unlabeled: UnlabeledSources = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    algorithm: Annotated[
        str | None, typer.Option(help="`uda`: rounds also train for consistency on what has no pseudo-label.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="precision, threshold, top_k or percentile. [default: precision]")
    ] = None,
    target_precision: Annotated[
        float | None, typer.Option(help="Share that should be right of what is believed of a class.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Calibrated confidence to believe (rule threshold).")] = None,
    labels: Annotated[str | None, typer.Option(help="hard or soft.")] = None,
    start_from: Annotated[str | None, typer.Option(help="A finished run that serves as round 0.")] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Start each round from the weights of the last one.")
    ] = False,
    group_consistency: Annotated[
        bool, typer.Option("--group-consistency", help="Groups (persons) with labels lend them what never varies.")
    ] = False,
    from_predictions: Annotated[
        Path | None, typer.Option(help="Select from the shards that `predict --shard` wrote into this folder.")
    ] = None,
    audit_answers: Annotated[
        Path | None, typer.Option(help="The pool's true labels (CSV: image, answer): reported, never used.")
    ] = None,
    on_bad: OnBadUnlabeled = None,
    guard: GuardMode = None,
    protect: Protect = None,
    drop_overlap: DropOverlap = False,
    allow: Allow = None,
    transductive: Transductive = False,
    reason: Reason = None,
    allowed_by: AllowedBy = None,
    name: Name = None,
    runs: RunsOption = None,
    seed: Seed = None,
    steps: Steps = None,
    epochs: Epochs = None,
    resume: Annotated[str | None, typer.Option("--resume", help="Continue a series: its name or path.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train in rounds: believe what is likely right of the unlabeled images, train on it, and again."""
    from ssl_mask.config import resolve

    flags = training_flags(data, name, runs, seed, steps, epochs, None)
    flags |= {"data.unlabeled": unlabeled or None, "data.on_bad": on_bad, "algorithm.name": algorithm}
    flags |= {
        "pseudo.rounds": 1 if from_predictions is not None and rounds is None else rounds,
        "pseudo.rule": rule,
        "pseudo.target_precision": target_precision,
        "pseudo.threshold": threshold,
        "pseudo.labels": labels,
        "pseudo.start_from": start_from,
        "pseudo.warm_start": warm_start or None,
        "pseudo.group_consistency": group_consistency or None,
        "pseudo.from_predictions": str(from_predictions) if from_predictions is not None else None,
    }
    flags |= guard_flags(guard, protect, drop_overlap, allow, transductive, reason, allowed_by)
    layers = gather(config, assignments, flags)
    from ssl_mask import devices
    from ssl_mask.workflows.pseudo import pseudo as run_rounds

    settings = resolve(layers, has_gpu=devices.has_gpu, recipe="pseudo_")
    run_rounds(settings, resume=resume, audit_answers=audit_answers, quiet=quiet)
