"""`sslmask train`: load, guard, build, fit, finish. The other verbs that train come through here too."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.load import TrainingData, load_training_data, read_manifest
from ssl_mask.data.unlabeled import pool_csv
from ssl_mask.devices import broadcast, make_accelerator
from ssl_mask.errors import Interrupted, TrainingError, nothing_written
from ssl_mask.files import storage, write_json, write_text
from ssl_mask.guard.ahead import read_ahead
from ssl_mask.guard.ancestors import Ancestor, labels_ancestors, run_ancestor, weights_ancestor
from ssl_mask.guard.gate import GateResult, run_gate
from ssl_mask.guard.lineage import Heritage, heritage_of, leakage_record, mark_of
from ssl_mask.models.classifier import Classifier, take_over
from ssl_mask.reports.data_card import write_cards
from ssl_mask.reports.reference import reference_score, reference_sentence
from ssl_mask.reports.run_card import run_card
from ssl_mask.reports.run_plots import draw_run
from ssl_mask.runs.checkpoint import is_checkpoint, load_checkpoint
from ssl_mask.runs.create import create_run
from ssl_mask.runs.environment import describe
from ssl_mask.runs.find import find_run
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study
from ssl_mask.runs.view import Run
from ssl_mask.runs.writer import RunWriter
from ssl_mask.text import csv_text
from ssl_mask.training.algorithm import refuse_unknown_names, target_classes
from ssl_mask.training.batch_size import settle_batch_size
from ssl_mask.training.cost import Cost, measure
from ssl_mask.training.fit import fit, how_to_continue
from ssl_mask.training.parallel import refuse_single_images
from ssl_mask.training.record import data_record
from ssl_mask.training.reference import write_reference
from ssl_mask.training.session import Session, build, make_model
from ssl_mask.training.trackers.tracking import Trackers, refuse_missing, tracking
from ssl_mask.workflows.resume import (
    can_go_on,
    continue_run,
    refuse_changed_data,
    refuse_other_images,
    resumed_config,
)


def train(
    config: RunConfig,
    *,
    resume: str | Path | None = None,
    length: Mapping[str, float] | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> Run | None:
    """Train and return the run; `None` from a dry run, which leaves nothing behind.

    Args:
        config: what to do. With `resume`, only its `runs` counts: a run keeps its own configuration.
        resume: a run's name or path, or `latest`: continue it exactly.
        length: with `resume`, `{"steps": n}` or `{"epochs": n}` to go further than the run was meant to.
        dry_run: check configuration and data, run two steps, print estimates.
        quiet: print nothing.

    Raises:
        SslMaskError: any bad input; nothing already written is lost.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}, "name": "first"}, preset="laptop")
        >>> run = ssl_mask.train(config, quiet=True)
        >>> run.status.status
        'finished'
        >>> 0 <= run.scores.macro_f1 <= 1
        True
    """
    if resume is None:
        config.refuse_factors("A single run")
    run = find_run(resume, config.runs) if resume is not None else None
    if run is not None:
        config = resumed_config(run, length or {})
    refuse_missing(config.train.trackers)
    accelerator = make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    if run is not None and not broadcast(accelerator, partial(can_go_on, run, config)):
        console.say(f"Done   {run.path} has finished already; --steps or --epochs makes it longer.")
        return Run(run)
    console.say(f"Preset {config.preset} ({_device(accelerator)})")

    with nothing_written("this run"):
        session, gate, heritage = prepare(config, accelerator, console)
        if dry_run:
            estimate(session)
            return None
    resumed = run
    if run is None:
        run = start_run(session, gate, heritage) if accelerator.is_main_process else None
    writer = RunWriter(run if accelerator.is_main_process else None)
    with writer.locked(), tracking(config.train.trackers, console) as trackers:
        if resumed is not None:
            refuse_changed_data(session, resumed)
            refuse_other_images(session, resumed, gate, heritage)
        try:
            writer.write(partial(write_reference, session))  # of the weights as they are before training
            if resumed is not None:
                continue_run(session, resumed, gate, heritage)
            fit(session, trackers.start(writer, session.config, step=session.progress.step))
        except TrainingError as error:
            writer.update(status="failed", failure=error.problem)
            raise
        except KeyboardInterrupt as stop:  # a second one: the first waits for the step to end
            hint = how_to_continue(session, writer)
            raise Interrupted.by(stop, "what was saved before is kept.", hint=hint) from None
        writer.write(lambda folder: finish(session, folder, trackers))
    accelerator.wait_for_everyone()
    return Run(run) if run is not None else None


def prepare(config: RunConfig, accelerator: Accelerator, console: Console) -> tuple[Session, GateResult, Heritage]:
    """All that a run needs before its first step: load, guard, build. Writes nothing.

    Returns:
        The session, what the guard found, and what the run takes over from what it builds on.
    """
    manifest = read_manifest(config.data, console)
    refuse_unknown_names(config, manifest.schema)  # before the images: a wrong name or size is refused at once
    model, size = make_model(config, manifest.schema)
    refuse_single_images(config, model, accelerator.num_processes)
    ancestors = start_from(config, model, console)
    data = load_training_data(
        manifest, config.data, size, accelerator, console, unlabeled=config.algorithm.name != "supervised",
        ahead=partial(read_ahead, config.data) if config.guard.mode == "on" else None,
    )  # fmt: skip
    gate = run_gate(config, manifest, data.pools, accelerator, console)
    heritage = heritage_of(gate, ancestors, config, accelerator, console)
    config, data = settle_unlabeled(config, data.without(gate.dropped), console)
    config = settle_batch_size(config, data, model, size, accelerator, console)
    return build(config, data, model, size, accelerator, console), gate, heritage


def start_from(config: RunConfig, model: Classifier, console: Console) -> tuple[Ancestor, ...]:
    """Copy the weights of `init_from` into the model.

    Returns:
        What this run builds on: weights that are no package's or hub's own, and pseudo-labels.
    """
    found: list[Ancestor] = []
    if config.model.weights not in {"auto", "none"}:
        weights = Path(config.model.weights)
        if is_checkpoint(weights):
            load_checkpoint(weights)  # are they the weights that the header describes?
        found.append(weights_ancestor(weights))
    if config.init_from is not None:
        source = find_run(config.init_from, config.runs)
        best = load_checkpoint(source.best)
        origin = f"{source.best} ({best.metadata.model.backbone})"
        fresh = take_over(model, best.weights, image_size=best.metadata.image_size, origin=origin)
        console.say(f"Start  weights of {source.best}" + (f"; fresh: {', '.join(fresh)}" if fresh else ""))
        found.append(run_ancestor(source))
    if config.data.pseudo_labels is not None:
        found.extend(labels_ancestors(config.data.pseudo_labels))
    return tuple(found)


def settle_unlabeled(config: RunConfig, data: TrainingData, console: Console) -> tuple[RunConfig, TrainingData]:
    """Turn consistency off where every unlabeled image has a pseudo-label."""
    if data.unlabeled is None or len(data.unlabeled):
        return config, data
    console.warn("Every image of the pool has a pseudo-label: none is left for consistency, which is off.")
    supervised = config.algorithm.model_copy(update={"name": "supervised"})
    return config.model_copy(update={"algorithm": supervised}), replace(data, unlabeled=None)


def _device(accelerator: Accelerator) -> str:
    processes = accelerator.num_processes
    return f"{processes} x {accelerator.device.type}" if processes > 1 else str(accelerator.device.type)


def start_run(session: Session, gate: GateResult, heritage: Heritage) -> RunDir:
    """A fresh run folder with everything that is known before the first step."""
    config, data = session.config, session.data

    def fill(run: RunDir) -> dict[str, Any]:
        used = session.accelerator
        write_json(run.environment, describe(str(used.device), used.num_processes, used.mixed_precision))
        write_text(run.manifest, data.labeled.to_csv())
        if data.left_out:
            write_text(run.left_out, csv_text([("path", "why"), *data.left_out.items()]))
        if config.data.corrections is not None:
            with storage(run.corrections):
                shutil.copyfile(config.data.corrections, run.corrections)
        if data.unlabeled is not None:
            write_text(run.unlabeled, pool_csv(data.unlabeled))
        write_cards(run, gate, config.guard.cards)
        leakage = leakage_record(gate, heritage, run, config.guard)
        return {"steps": session.last_step, "data": data_record(config, data), **dict(leakage)}

    run = create_run(config, "train" if data.unlabeled is None else "uda", fill)
    session.console.say(f"Run    {run.path}")
    return run


def finish(session: Session, run: RunDir, trackers: Trackers) -> None:
    """Plots and run card of a finished run, also for its trackers, and what to do next."""
    schema, unlabeled = session.data.manifest.schema, session.data.unlabeled
    draw = partial(draw_run, run, schema, None if unlabeled is None else target_classes(session.config, schema))
    draw(run.plots)
    if len(session.data.val):
        best = run.scores()
        session.console.say(
            f"Best   validation macro-F1 {best.macro_f1:.4f}, accuracy {best.accuracy:.4f} "
            f"({best.weights} weights, step {best.step})"
        )
    else:
        session.console.say(f"Kept   the weights of step {session.progress.step}; there is no validation")
    write_text(run.card, run_card(run))
    trackers.keep(run, partial(draw, suffix=".png"))
    if (reference := reference_score(run)) is not None:
        session.console.say(f"Probe  {reference_sentence(reference, 'this run')}")
    session.console.say(f"Guard  {mark_of(run.status()).sentence}")
    part_of_a_study = Study(run.path.parent).record_file.is_file()
    predict = "" if part_of_a_study else f"; next: sslmask predict --run {run.path}"
    session.console.say(f"Saved  {run.path}  (read {run.card.name}{predict})")


def two_steps(config: RunConfig, accelerator: Accelerator, console: Console) -> Cost:
    """What a run of a study would cost, from two of its steps; says what the guard found. Writes nothing."""
    session, gate, _ = prepare(config, accelerator, Console(quiet=True))
    console.say(f"Guard  {gate.sentence}")
    return measure(session)


def estimate(session: Session) -> None:
    """Run two steps and print what the whole would take."""
    cost = measure(session)
    steps = f"{cost.steps} steps of {cost.step_seconds:.2f} s"
    session.console.say(f"Dry run: configuration and data are fine; {steps}, {cost.evaluations} evaluations.")
    session.console.say(f"Estimate: {cost.seconds / 60:.1f} minutes with evaluations, {cost.memory_gb:.2f} GB memory.")
