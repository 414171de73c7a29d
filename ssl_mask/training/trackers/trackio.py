"""Trackio: in TRACKIO_DIR, else in its own folder per user; shown by `trackio show`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate.tracking import TrackioTracker

from ssl_mask.training.trackers.place import PROJECT, Opened, Place


def open_tracker(place: Place) -> Opened:
    """Its runs are told apart by name alone, and all are in one folder: the id of the run is a part of the name."""
    import trackio

    settings = dict(place.settings)  # it keeps those that it is given when it begins, of a resumed run the last ones
    tracker = TrackioTracker(
        PROJECT, name=f"{place.name}-{place.id}", resume="allow", config=settings, embed=False, auto_log_cpu=False,
        auto_log_gpu=False,
    )  # fmt: skip
    tracker.start()

    def keep(card: Path, plots: Sequence[Path], step: int) -> None:
        tracker.log({"run_card": trackio.Markdown(card.read_text(encoding="utf-8"))}, step=step)
        for plot in plots:
            tracker.log({f"plots/{plot.stem}": trackio.Image(plot)}, step=step)

    return Opened(tracker, keep, trackio.finish)  # its own, which forgets the run: else it is ended again at exit
