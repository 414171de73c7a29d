"""Images that cannot be read while others are predicted, and what is said when all is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.errors import ImageError
from ssl_mask.guard.provenance import Provenance
from ssl_mask.inference.submission import unreadable_files

OnBad = Literal["fail", "skip", "fallback"]
"""An unreadable image raises ImageError, gets an empty answer, or the majority class."""


def with_fallback(
    predict: Callable[[Literal["fail", "skip"]], PredictedImages], prior: NDArray[Any], on_bad: OnBad
) -> PredictedImages:
    """Predict; with `fallback`, an unreadable image gets the class shares of the training images.

    Args:
        predict: told whether to skip such images.
        prior: (joint classes,) those shares.

    Raises:
        ImageError: an unreadable image, with `fail`.
    """
    with how_to_go_on(on_bad):
        predicted = predict("fail" if on_bad == "fail" else "skip")
    if on_bad == "fallback":
        predicted.probs[list(predicted.unreadable)] = prior
    return predicted


@contextmanager
def how_to_go_on(on_bad: str) -> Iterator[None]:
    """Add to the error of an unreadable image how to predict without it."""
    try:
        yield
    except ImageError as error:
        if on_bad != "fail":
            raise
        go_on = "Or go on without it: --on-bad skip (empty answer) or --on-bad fallback (majority class)."
        raise ImageError(error.problem, hint=f"{(error.hint or 'Fix it').rstrip('.')}. {go_on}") from error


def tell_predicted(
    predicted: PredictedImages, leakage: Provenance, on_bad: OnBad, path: Path | None, console: Console
) -> None:
    """List the first unreadable images, and say how far a score can be trusted and where the predictions are.

    Args:
        path: of the submission; None: nothing was written.
    """
    if predicted.unreadable:
        console.warn(f"{len(predicted.unreadable)} images could not be read (--on-bad {on_bad}):")
        for file, reason in list(unreadable_files(predicted.manifest, predicted.unreadable).items())[:20]:
            console.say(f"  {file}: {reason}")
    if leakage.overlap:
        console.warn(f"{leakage.why[0]}: a score on them does not measure new images.")
    console.say(f"Guard  {leakage.sentence}")
    rows = f"{len(predicted.manifest)} rows"
    console.say(f"Done   {rows}; nothing is written" if path is None else f"Saved  {path}  ({rows})")
