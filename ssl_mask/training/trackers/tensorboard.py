"""TensorBoard: event files in `<run>/trackers/tensorboard`, shown by `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from accelerate.tracking import TensorBoardTracker
from PIL import Image

from ssl_mask.training.trackers.place import Opened, Place


def open_tracker(place: Place) -> Opened:
    """A resumed run writes another event file into its folder; what was logged after its saved state is hidden."""
    purge = place.step + 1 if place.step else None
    tracker = TensorBoardTracker("tensorboard", place.folder, purge_step=purge)
    tracker.start()

    def keep(card: Path, plots: Sequence[Path], step: int) -> None:
        tracker.log({"run_card": card.read_text(encoding="utf-8")}, step=step)
        for plot in plots:
            with Image.open(plot) as image:
                pixels = np.asarray(image.convert("RGB"))
            tracker.log_images({f"plots/{plot.stem}": pixels[None]}, step=step, dataformats="NHWC")

    return Opened(tracker, keep, tracker.finish)
