"""Vectors of images with what made them: for all verbs that embed, and the header that travels with a table of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from ssl_mask import devices
from ssl_mask.console import Console
from ssl_mask.data.embeddings import EmbeddingTable, table_of
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, InputError, MismatchError
from ssl_mask.inference.labeled import refuse_changed
from ssl_mask.inference.load import networks_of
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.runs.base import Record, parse_record
from ssl_mask.runs.environment import code_version
from ssl_mask.runs.gallery import Embedder
from ssl_mask.runs.records import as_schema
from ssl_mask.runs.seal import file_digest, is_whole, sealed, unsealed
from ssl_mask.runs.sources import Source, find_source


class EmbeddedBy(Record):
    """The header of an embeddings table."""

    source: str
    """Path of the run or the study."""
    members: tuple[Embedder, ...]
    label_schema: Annotated[LabelSchema, BeforeValidator(as_schema), PlainSerializer(LabelSchema.to_json)]
    data: str
    """What was embedded: a folder, a CSV, or the images that the run was trained and validated on."""
    code: str
    """Version of sslmask."""


def embedders(source: Source, predictor: Predictor) -> tuple[Embedder, ...]:
    """The networks of a source that embed, with their weights of now."""
    networks = zip(source.members, networks_of(predictor), strict=True)
    return tuple(
        Embedder(run=str(run.path.absolute()), checkpoint_sha256=file_digest(run.best), width=n.model.embedding_size)
        for run, n in networks
    )


def header_of(source: Source, predictor: Predictor, data: str) -> dict[str, Any]:
    """The header of what a predictor embedded."""
    made = EmbeddedBy(
        source=str(source.path.absolute()), members=embedders(source, predictor), label_schema=predictor.schema,
        data=data, code=code_version(),
    )  # fmt: skip
    return sealed(made.to_json())


def refuse_other_embeddings(table: EmbeddingTable, where: str, source: Source, predictor: Predictor) -> None:
    """Check that vectors are of these networks and their labels of these classes.

    Raises:
        DataError: other classes, or a damaged header. MismatchError: other networks or weights, or a changed header.
    """
    header: Mapping[str, Any] = table.header
    again = f"Embed again: sslmask embed --run {source.path}"
    made = parse_record(EmbeddedBy, unsealed(header), f"{where}: header", error=DataError, hint=again)
    if not is_whole(header):
        raise MismatchError(f"The header of {where} has changed since it was written.", hint=again)
    if made.label_schema != predictor.schema:
        raise DataError(f"{where} has labels of other classes than {source.path}.", hint=again)
    now = [(m.checkpoint_sha256, m.width) for m in embedders(source, predictor)]
    if [(m.checkpoint_sha256, m.width) for m in made.members] != now:
        raise MismatchError(f"{where} was not embedded by {source.path}, but by {made.source}.", hint=again)


def named_source(run: str | Path, runs: Path) -> Source:
    """A run or a study. Raises InputError for a gallery, which is made of embeddings."""
    source = find_source(run, runs)
    if source.kind == "gallery":
        raise InputError(
            f"{source.path} is a gallery.", hint=f"Name the run that embeds its images: --run {source.parts[0].path}"
        )
    return source


def one_process(*, quiet: bool) -> Compute:
    """What a command of one process computes with. Raises InputError under a launcher of several processes."""
    accelerator = devices.make_accelerator("auto")
    if accelerator.num_processes > 1:
        raise InputError("This command works with one process.", hint="Start it without a launcher.")
    return Compute(accelerator, Console(quiet=quiet))


def embedded(
    source: Source, predictor: Predictor, rows: Manifest, data: str, *, by: Predictor | None = None
) -> EmbeddingTable:
    """The images with their vectors.

    Args:
        by: the same predictor, shared out.

    Raises:
        ImageError: an unreadable image. MismatchError: one that has changed since it was trained on.
    """
    seen = (by or predictor).embed(rows)
    refuse_changed(rows, seen.manifest)
    return table_of(seen.manifest, seen.vectors, header_of(source, predictor, data))
