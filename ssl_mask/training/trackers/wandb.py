"""Weights & Biases: offline in `<run>/trackers/wandb`, sent later by `wandb sync`. WANDB_MODE=online sends at once."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path

from accelerate.tracking import WandBTracker
from PIL import Image

from ssl_mask.training.trackers.place import PROJECT, Opened, Place


def open_tracker(place: Place) -> Opened:
    """A resumed run goes on under its id; offline that is one more folder, which `wandb sync` joins to the first."""
    import wandb

    place.folder.mkdir(parents=True, exist_ok=True)
    tracker = WandBTracker(
        os.environ.get("WANDB_PROJECT", PROJECT), name=place.name, id=place.id, resume="allow", dir=str(place.folder),
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
    )  # fmt: skip
    tracker.start()

    def keep(card: Path, plots: Sequence[Path], step: int) -> None:
        text = html.escape(card.read_text(encoding="utf-8"))
        tracker.log({"run_card": wandb.Html(f"<pre>{text}</pre>")}, step=step)
        for plot in plots:
            with Image.open(plot) as image:
                tracker.log_images({f"plots/{plot.stem}": [image]}, step=step)

    return Opened(tracker, keep, tracker.finish)
