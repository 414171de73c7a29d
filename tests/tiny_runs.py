"""Settings that tests share."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "preset": "none",
    "model": {"backbone": "test_efficientnet", "weights": "none", "image_size": 32, "embedding_size": 16},
    "train": {"steps": 6, "batch_size": 8, "eval_every": 3, "log_every": 1, "workers": 0},
    "data": {"folds": 2},
    "guard": {"mode": "off"},
}
"""Settings for runs that take seconds. The guard has tests of its own."""
