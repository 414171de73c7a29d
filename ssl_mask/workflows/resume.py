"""`--resume` of a run: it goes on exactly where it stopped, with its own configuration and on the same data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ssl_mask.config import RunConfig, to_yaml, validate
from ssl_mask.devices import broadcast
from ssl_mask.errors import ConfigError, DataError, ModelError
from ssl_mask.files import write_text
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.lineage import Heritage, leakage_record, seen_of
from ssl_mask.guard.seen import seen_digests
from ssl_mask.runs.checkpoint import load_checkpoint, read_metadata, write_checkpoint
from ssl_mask.runs.records import LeakageRecord, RunStatus, SeenRole
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import origin_of
from ssl_mask.training.progress import Progress
from ssl_mask.training.record import data_record
from ssl_mask.training.session import Session
from ssl_mask.training.state import load_state


def resumed_config(run: RunDir, length: Mapping[str, float]) -> RunConfig:
    """The run's own configuration; only its length may change when it continues."""
    tree = run.config().model_dump(mode="json")
    if length:
        tree["train"] |= {"steps": None, "epochs": None, **length}
    return validate({**tree, "runs": str(run.path.parent)})


def can_go_on(run: RunDir, config: RunConfig) -> bool:
    """Whether there is anything left to do of a run; looked at before its data is read.

    Raises:
        DataError: the run failed, or another process works on it.
    """
    with run.locked():
        status = run.status()
    if status.status == "failed":
        raise DataError(
            f"{run.path} failed and would fail again: {status.failure}",
            hint=f"Start a new run with other settings, such as a lower optim.lr (--init-from {run.path} takes over "
            "its best weights).",
        )
    return status.status != "finished" or not run.card.is_file() or config.train != run.config().train


def refuse_changed_data(session: Session, run: RunDir) -> None:
    """Check that a run continues on the data it began with.

    Raises:
        DataError: the images, labels, split, unlabeled pool or pseudo-labels changed.
    """
    before, now = run.data(), data_record(session.config, session.data)
    pairs = {
        "data": (before.content_hash, now.content_hash),
        "unlabeled pool": tuple(d.unlabeled and d.unlabeled.content_hash for d in (before, now)),
        "pseudo-labels": tuple(d.pseudo and d.pseudo.sha256 for d in (before, now)),
    }
    for what, (then, today) in pairs.items():
        if then != today:
            raise DataError(
                f"The {what} in {session.config.data.root.absolute()} is not what {run.path} began with.",
                hint="Restore it, or start a new run (--init-from takes over the weights).",
            )


def refuse_other_images(session: Session, run: RunDir, gate: GateResult, heritage: Heritage) -> None:
    """Check that a run and what it builds on have seen the images that they had seen when it began.

    Its weights come from what was there then. Where a run that it builds on was replaced by one that has seen others,
    a record of today's would hide the images that are in the weights.

    Raises:
        DataError: other images.
    """

    def decide() -> None:
        if not _has_state(run):
            return
        before, now = _images(run, run.status()), seen_of(gate, heritage.before)
        if before and now is not None and before != {role: frozenset(seen.digests) for role, seen in now.items()}:
            raise DataError(
                f"{run.path} and what it builds on have not seen the images that they had seen when it began.",
                hint=f"Restore what it builds on ({', '.join(run.status().ancestors)}), or start a new run."
                if heritage.ancestors
                else "Restore the data, or start a new run.",
            )

    broadcast(session.accelerator, decide)


def continue_run(session: Session, run: RunDir, gate: GateResult, heritage: Heritage) -> None:
    """Put the saved state back.

    What is known of leakage is found anew: run.json says only what was found before.

    Raises:
        ModelError: no saved state where one was saved, or a damaged one.
        ConfigError: it has done more steps than are asked for.
    """
    before = run.status()
    if _has_state(run):
        origin, earlier = origin_of(before), before.earlier_origins
        saved = load_state(run.last, session.training, origin=origin, earlier=earlier)
        session.progress = Progress.from_json(saved, str(run.last))
    done, steps = session.progress.step, session.last_step
    if done > steps:
        raise ConfigError(
            f"{run.path} has done {done} steps already, but is to end at {steps}.",
            hint="Ask for more steps to go on, or start a new run.",
        )
    session.accelerator.wait_for_everyone()  # nothing is written before all have read
    if session.accelerator.is_main_process:
        known = _images(run, before)
        leakage = leakage_record(gate, heritage, run, session.config.guard)
        changes = {"status": "running", "steps": session.last_step, **dict(leakage)}
        after = before.model_copy(update=dict(leakage))
        if leakage.seen != before.seen and known == _images(run, after):  # the same, written in another format
            _bind_again(run, before, leakage)
            # Its saved state is bound to this one until the run saves the next.
            changes["earlier_origins"] = (*before.earlier_origins, origin_of(before))
        # Last: whatever was written when a kill comes before this, the next resume writes all of it again.
        run.update(**changes)
        write_text(run.config_file, to_yaml(session.config))


def _has_state(run: RunDir) -> bool:
    """Whether there is a state to go on from; a run that was killed before its first save starts again."""
    return run.last.is_file() or run.status().step > 0


def _images(run: RunDir, status: RunStatus) -> dict[SeenRole, frozenset[str]] | None:
    """SHA-256 of the images in the seen-sets of a status, by role; None where they are not its."""
    try:
        found = {role: seen_digests(run.seen(role)) for role in status.seen or {}}
    except ModelError:
        return None
    counts = {role: record.images for role, record in (status.seen or {}).items()}
    return found if counts == {role: len(digests) for role, digests in found.items()} else None


def _bind_again(run: RunDir, before: RunStatus, now: LeakageRecord) -> None:
    """Bind weights to seen-sets of the same images that are written in another format than before.

    Weights that were not bound to those of before came from elsewhere: they stay as they are, and are refused.
    """
    for path in (run.best, *run.all_kept.glob("*.safetensors")):
        if path.is_file() and read_metadata(path).seen == before.seen:
            kept = load_checkpoint(path)
            write_checkpoint(path, replace(kept, metadata=kept.metadata.model_copy(update={"seen": now.seen})))
