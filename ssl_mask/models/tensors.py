"""Read files that `torch.save` wrote. Reading runs no code, and takes no more memory than the file has bytes."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from ssl_mask.reading import refuse_inflated, regular


def load_tensors(path: Path, device: torch.device | str = "cpu") -> Any:
    """The content of a file of tensors and plain values, with its tensors on `device`.

    Raises:
        OSError: missing, or not a file. ValueError: it holds other objects, or more than its size allows.
        Exception: of many kinds, for a damaged file; call it inside of `reading`.
    """
    refuse_inflated(regular(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle that torch did not write; it is refused anyway
            return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own text advises to read it without this protection
        raise ValueError(
            "it is damaged, or holds more than tensors and plain values; such a file could run code, so it is not read"
        ) from error
