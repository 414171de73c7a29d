"""What is said of images that could not be read while others were predicted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.errors import ImageError
from ssl_mask.inference.submission import unreadable_files


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


def tell_unreadable(predicted: PredictedImages, on_bad: str, console: Console) -> None:
    """List the first of them."""
    if predicted.unreadable:
        console.warn(f"{len(predicted.unreadable)} images could not be read (--on-bad {on_bad}):")
        for path, reason in list(unreadable_files(predicted.manifest, predicted.unreadable).items())[:20]:
            console.say(f"  {path}: {reason}")
