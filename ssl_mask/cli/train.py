"""`sslmask train`."""

from __future__ import annotations

from ssl_mask.cli.options import (
    Allow,
    Assignments,
    ConfigFile,
    DataFolder,
    DropOverlap,
    DryRun,
    Epochs,
    GuardMode,
    InitFrom,
    Name,
    Protect,
    Quiet,
    Resume,
    RunsOption,
    Seed,
    Steps,
    gather,
    guard_flags,
    length_of,
    training_flags,
)


def train(
    data: DataFolder = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
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
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Train on labeled images: ArcFace, split by person, best weights by validation macro-F1."""
    from ssl_mask.config import resolve

    flags = training_flags(data, name, runs, seed, steps, epochs, init_from)
    flags |= guard_flags(guard, protect, drop_overlap, allow)
    layers = gather(config, assignments, flags)
    from ssl_mask import devices
    from ssl_mask.workflows.train import train as run_training

    settings = resolve(layers, has_gpu=devices.has_gpu)
    run_training(settings, resume=resume, length=length_of(steps, epochs), dry_run=dry_run, quiet=quiet)
