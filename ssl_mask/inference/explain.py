"""Where the networks of a run or a study looked in images that they predicted wrongly and have not been trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.images import decode, fit, open_regular
from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.data.schema import LabelSchema
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import ImageError
from ssl_mask.evaluation.heat import Explained, Heat
from ssl_mask.inference.grad_cam import heat_maps
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import RunPredictor, load_run_predictor
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source

BATCH = 16


@dataclass(frozen=True)
class RunRows:
    """A run, and the rows of the table that it explains: images that it was not trained on."""

    run: RunDir
    rows: tuple[int, ...]


def explain(
    source: Source, table: PredictionTable, rows: Sequence[int], root: Path, console: Console | None = None
) -> Explained:
    """Explain wrong predictions: of each head that is wrong the score of the class that was predicted.

    Of several runs that predict an image the first one is explained that was not trained on it: of a study of folds
    its out-of-fold model.

    Args:
        source: what has predicted.
        table: its predictions of images that it was not trained on.
        rows: of the table.
        root: what the paths of the table are relative to.

    Raises:
        DataError, ModelError: a file of a run is missing or damaged, or a network that cannot be explained.
    """
    found = Explained()
    compute = Compute(make_accelerator("fp32"), console or Console(quiet=True), workers=0)
    for part in rows_by_run(source, table, rows):
        inside = part.run.path.is_relative_to(source.path) and part.run.path != source.path
        name = part.run.path.relative_to(source.path).as_posix() if inside else part.run.name
        with compute.console.counting(f"Explaining with {name}") as tell:
            predictor = load_run_predictor(part.run, compute, cache="off")
            for done in range(0, len(part.rows), BATCH):
                _explain_some(predictor, name, source.schema, table, part.rows[done : done + BATCH], root, found)
                tell(min(done + BATCH, len(part.rows)), len(part.rows))
    return found


def rows_by_run(source: Source, table: PredictionTable, rows: Sequence[int]) -> Iterator[RunRows]:
    """Which run explains which rows: the first that has an image in its validation part; of factor models one for each
    factor."""
    for part in source.parts if source.kind == "factors" else (source,):
        left = dict(zip(table.path[[*rows]].tolist(), rows, strict=True))
        for member in part.members:
            own = set(read_validation(member.validation).path.tolist()) & left.keys() if left else set()
            if own:
                yield RunRows(member, tuple(row for path, row in left.items() if path in own))
            left = {path: row for path, row in left.items() if path not in own}


def _explain_some(
    predictor: RunPredictor, name: str, schema: LabelSchema, table: PredictionTable, rows: Sequence[int], root: Path,
    found: Explained,
) -> None:  # fmt: skip
    pixels: dict[int, NDArray[np.uint8]] = {}
    for row in rows:
        try:
            pixels[row] = seen(predictor, root / str(table.path[row]), str(table.sha256[row]))
        except ImageError:
            found.gone.add(row)
    for head, names in predictor.schema.head_classes(predictor.source.metadata.target).items():
        true, predicted = (of_head(joint, head, schema) for joint in (table.true, table.predicted))
        wrong = [row for row in pixels if true[row] != predicted[row]]
        if not wrong:
            continue
        images = torch.from_numpy(np.stack([pixels[row] for row in wrong])).to(predictor.compute.accelerator.device)
        maps = heat_maps(predictor.model, images, head, predicted[wrong].tolist())
        for row, cells in zip(wrong, maps, strict=True):
            heat = Heat(head, names[int(predicted[row])], name, cells, predictor.reading.resize)
            found.heats.setdefault(row, []).append(heat)


def seen(predictor: RunPredictor, path: Path, sha256: str) -> NDArray[np.uint8]:
    """(size, size, 3) what a network sees of a file. Raises ImageError when it cannot be read or has changed."""
    with open_regular(path) as file:
        content = file.read()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ImageError(f"{path} has changed since it was predicted.")
    reading = predictor.reading
    whole = decode(path, content, max_pixels=reading.max_pixels, depth=reading.depth)
    return fit(whole, predictor.size, reading.resize)


def of_head(joint: NDArray[np.int64], head: str, schema: LabelSchema) -> NDArray[np.int64]:
    """(n,) joint classes -> the classes of one head."""
    names = [*schema.sizes]
    return schema.part(joint)[:, names.index(head)] if head in names else joint
