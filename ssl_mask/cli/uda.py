"""`sslmask uda`."""

from __future__ import annotations

from typing import Annotated

import typer

from ssl_mask.cli.options import (
    Allow,
    AllowedBy,
    Assignments,
    ConfigFile,
    DataFolder,
    DropOverlap,
    DryRun,
    Epochs,
    GuardMode,
    InitFrom,
    Name,
    OnBadUnlabeled,
    Protect,
    Quiet,
    Reason,
    Resume,
    RunsOption,
    Seed,
    Steps,
    Transductive,
    UnlabeledSources,
    gather,
    guard_flags,
    length_of,
    training_flags,
)


def uda(
    unlabeled: UnlabeledSources = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    algorithm: Annotated[str | None, typer.Option(help="uda, fixmatch, freematch or softmatch. [default: uda]")] = None,
    twin: Annotated[
        bool,
        typer.Option("--twin", help="Also train the labels-only twin, and report the difference with its interval."),
    ] = False,
    seeds: Annotated[str | None, typer.Option(help="Several seeds, such as 0,1,2: one run each.")] = None,
    on_bad: OnBadUnlabeled = None,
    name: Name = None,
    runs: RunsOption = None,
    seed: Seed = None,
    steps: Steps = None,
    epochs: Epochs = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    guard: GuardMode = None,
    protect: Protect = None,
    drop_overlap: DropOverlap = False,
    allow: Allow = None,
    transductive: Transductive = False,
    reason: Reason = None,
    allowed_by: AllowedBy = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Train on labeled and unlabeled images: consistency between a weak and a strong view (UDA and its kin)."""
    from ssl_mask.config import resolve

    flags = training_flags(data, name, runs, seed, steps, epochs, init_from)
    flags |= {"data.unlabeled": unlabeled or None, "algorithm.name": algorithm, "data.on_bad": on_bad}
    flags |= guard_flags(guard, protect, drop_overlap, allow, transductive, reason, allowed_by)
    layers = [{"algorithm": {"name": "uda"}}, *gather(config, assignments, flags)]
    from ssl_mask import devices
    from ssl_mask.runs.study import find_study
    from ssl_mask.workflows.compare import compare, parse_seeds
    from ssl_mask.workflows.train import train

    settings = resolve(layers, has_gpu=devices.has_gpu)
    if twin or seeds is not None or (resume is not None and find_study(resume, settings.runs) is not None):
        compare(settings, seeds=parse_seeds(seeds, settings.seed), twin=twin, resume=resume, quiet=quiet)
    else:
        train(settings, resume=resume, length=length_of(steps, epochs), dry_run=dry_run, quiet=quiet)
