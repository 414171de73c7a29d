"""`sslmask predict --run model.onnx`: an exported network predicts; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.guard.provenance import Provenance, provenance_of
from ssl_mask.inference.inputs import OWN_TEST, named_images, test_images
from ssl_mask.inference.onnx_predictor import load_onnx_predictor
from ssl_mask.inference.submission import refuse_foreign, write_submission
from ssl_mask.inference.unreadable import OnBad, tell_predicted, with_fallback
from ssl_mask.runs.exported import ExportRecord
from ssl_mask.runs.seal import file_digest


@dataclass(frozen=True)
class ExportedPredictions:
    """What an exported network says of images, and where it was written."""

    manifest: Manifest
    """The images in the order asked, with digests."""
    probs: NDArray[np.float32]
    """(n, joint classes); NaN where an image was skipped."""
    unreadable: dict[int, str]
    """Position of each unreadable image, and why."""
    leakage: Provenance
    """Whether its runs have seen these images, and how far a score can be trusted."""
    path: Path | None
    """The submission CSV, beside `probabilities.parquet` and `predictions.provenance.json`; None: not written."""


def predict_exported(
    model: str | Path,
    *,
    images: str | Path | None = None,
    data: str | Path | None = None,
    tta: bool = False,
    on_bad: OnBad = "fail",
    write: bool = True,
    out: str | Path | None = None,
    names: bool = False,
    batch_size: int = 64,
    cache: str = "auto",
    max_pixels: int | None = None,
    guard: Literal["on", "off"] = "on",
    quiet: bool = False,
) -> ExportedPredictions:
    """Predict a pool of images with a network that `export` has written. Torch is not imported.

    Args:
        model: the ONNX file.
        images: a folder, an image, a glob, or a CSV with an image column. None: the data set's own test images.
        data: the data set's folder. None: the one that its runs were trained on.
        tta: refuse a network that does not average over the plain and the mirrored view: that is settled at export.
        on_bad: as that of `predict`; so are `write`, `names`, `batch_size`, `cache`, `max_pixels` and `guard`.
        out: folder to write to. None: `predictions/` beside the file.

    Raises:
        SslMaskError: no such file, one that was changed, no images, an unreadable image, no room to write.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> exported = ssl_mask.export("first", quiet=True)
        >>> predictions = ssl_mask.predict_exported(exported.path, quiet=True)
        >>> predictions.probs.shape == (len(predictions.manifest), 18)
        True
    """
    if out is not None and not write:
        raise InputError("`out` names a folder, but write=False writes nothing.", hint="Leave one of them out.")
    console = Console(quiet=quiet)
    with nothing_written():
        predictor = load_onnx_predictor(
            Path(model), console, cache=cache, max_pixels=max_pixels, batch_size=batch_size
        )  # fmt: skip
        exported, record = predictor.source.run, predictor.source.metadata
        if tta and "mirrored" not in record.tta:
            raise InputError(
                f"{exported.path} was exported without the mirrored view.",
                hint="Export it with --tta, or leave out --tta.",
            )
        if images is not None:
            rows, pool = named_images(images, record.label_schema, record.submission, console)
        else:
            rows, pool = test_images(record.data, data, record.label_schema, exported.path, console), OWN_TEST
        path = (Path(out) if out is not None else exported.predictions(pool)) / "predictions.csv"
        if write:
            refuse_foreign(path)
        console.say(f"Predict {len(rows)} images with {exported.name} of {record.name}" + told(record))
        predicted = with_fallback(lambda how: predictor.probs(rows, on_bad=how), np.asarray(record.prior), on_bad)
        leakage = provenance_of([predictor.source], predicted.manifest, console, mode=guard, max_pixels=max_pixels)
    if write:
        write_submission(
            path, made_by(exported.path, record), predicted, leakage, tta="mirrored" in record.tta, on_bad=on_bad,
            pool=pool, names=names, max_pixels=max_pixels,
        )  # fmt: skip
    tell_predicted(predicted, leakage, on_bad, path if write else None, console)
    return ExportedPredictions(
        predicted.manifest, predicted.probs, dict(predicted.unreadable), leakage, path if write else None
    )  # fmt: skip


def told(record: ExportRecord) -> str:
    """What else there is to say of an exported network."""
    return (", mirrored views averaged" if "mirrored" in record.tta else "") + (", 8 bits" if record.int8 else "")


def made_by(path: Path, record: ExportRecord) -> dict[str, Any]:
    """What predicted, for the provenance: the file, and the runs that it was made from."""
    exported = {"file": str(path.absolute()), "sha256": file_digest(path), "bits": 8 if record.int8 else 32}
    return {"sources": [record.source.to_json()], "weights": None, "exported": exported}
