"""`sslmask train`."""

from __future__ import annotations

from ssl_mask.cli.options import (
    Assignments,
    ConfigFile,
    DataFolder,
    DryRun,
    Epochs,
    InitFrom,
    Name,
    Quiet,
    Resume,
    RunsOption,
    Seed,
    Steps,
    gather,
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
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Train on labeled images: ArcFace, split by person, best weights by validation macro-F1."""
    from ssl_mask.config import resolve

    layers = gather(config, assignments, training_flags(data, name, runs, seed, steps, epochs, init_from))
    from ssl_mask.workflows import setup
    from ssl_mask.workflows.train import train as run_training

    settings = resolve(layers, has_gpu=setup.has_gpu)
    run_training(settings, resume=resume, length=length_of(steps, epochs), dry_run=dry_run, quiet=quiet)
