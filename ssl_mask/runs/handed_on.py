"""What others get of a run, a study or an exported network: all that predicts and all that is known of what was seen.

Never photos, never predictions of photos (their table names files and persons), never a place of this machine: paths in
records and in the header of a checkpoint become names. Weights, classes and temperatures stay as they are, and so does
what is predicted.

    run                     run.json, config.yaml, checkpoints/best.safetensors, checkpoints/seen-*.npz, schema.json
    study of folds, rounds  the same of each run that predicts, and the records of the study
    of folds, or of seeds
    exported network        model.onnx, model.json, model-seen-*.npz, schema.json
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import yaml

from ssl_mask.errors import DataError, InputError
from ssl_mask.files import atomic_path, write_json, write_text
from ssl_mask.reading import parse_json, read_text, reading, regular
from ssl_mask.runs.checkpoint import Checkpoint, load_checkpoint, read_metadata, write_checkpoint
from ssl_mask.runs.exported import ExportedModel, read_exported, write_exported
from ssl_mask.runs.no_places import places_of_this_machine, tree_without_places
from ssl_mask.runs.records import CheckpointMetadata, LeakageRecord
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source

_RECORDS = ("run.json", "study.json", "oof.json", "rounds.json", "comparison.json")
_BOUND = {"graph_bytes", "graph_sha256"}
_DIGESTS = {"format", "digests", "pixels", "samples"}
"""Parts of a seen-set without pictures (`ssl_mask.guard.seen`)."""
_COPY = "Restore it from a copy."


def hand_on(source: Source, out: Path) -> None:
    """Write the files of a run or a study to an empty folder.

    Raises:
        InputError: a gallery, or a study of factor models, which is bound to predictions of its photos.
        DataError, ModelError, MismatchError: a file is missing or damaged, a network lies outside of the study, or a
            seen-set holds pictures.
        StorageError: no room, or no permission.
    """
    refuse_kind(source)
    for run in source.members:
        if not run.path.is_relative_to(source.path):
            raise DataError(
                f"{run.path} predicts for {source.path}, but does not lie in it.",
                hint=f"Hand on the study that it is in, or one file: sslmask export {source.path}",
            )
        _hand_on_run(run, out / run.path.relative_to(source.path))
        for folder in (run.path, *run.path.parents):
            _hand_on_records(folder, out / folder.relative_to(source.path))
            if folder == source.path:
                break
    write_json(out / "schema.json", source.schema.to_json())


def hand_on_exported(model: ExportedModel, out: Path) -> None:
    """The same for an exported network.

    Raises:
        ModelError, MismatchError: as `read_exported`. DataError: a seen-set is missing. StorageError: no room.
    """
    record = read_exported(model.path)
    fields = {k: v for k, v in record.to_json().items() if k not in _BOUND}
    with reading(model.path, DataError, hint=_COPY):
        graph = regular(model.path).read_bytes()[: record.graph_bytes]
    copy = ExportedModel(out / model.path.name)
    out.mkdir(parents=True, exist_ok=True)
    written = write_exported(copy.path, graph, tree_without_places(fields))
    write_json(copy.told, written.to_json())
    _hand_on_seen(model, copy, record)
    write_json(out / "schema.json", record.label_schema.to_json())


def refuse_kind(source: Source) -> None:
    """Raises InputError where a run or a study cannot be handed on."""
    if source.kind == "gallery":
        raise InputError(
            f"{source.path} is a gallery: it predicts by vectors of its photos, which are not handed on.",
            hint=f"Name the run that embeds them: {source.parts[0].path}",
        )
    if source.kind == "factors":
        raise InputError(
            f"{source.path} is a study of factor models, which checks itself by predictions of its photos.",
            hint=f"Hand on one file: sslmask export {source.path}, then the model.onnx that it writes.",
        )


def refuse_places(folder: Path, more: tuple[str, ...] = ()) -> None:
    """A last look: nothing that is handed on may hold a place of this machine.

    Args:
        more: absolute paths to look for, besides the home and the working folder.

    Raises:
        DataError: names the file and the place.
    """
    places = tuple(dict.fromkeys((*places_of_this_machine(), *more)))
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for place in places:
            if place.encode() in content:
                raise DataError(
                    f"{file.relative_to(folder)} would hand on {place}, a place of this machine.",
                    hint="Remove it from the card if it is there. Else train anew with a relative path.",
                )


def _hand_on_run(run: RunDir, out: Path) -> None:
    """Configuration, weights and seen-sets; the weights file stays byte for byte where its header names no place."""
    copy, metadata = RunDir(out), read_metadata(run.best)
    config = tree_without_places(run.config().model_dump(mode="json"))
    write_text(copy.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    before = metadata.to_json()
    if (after := tree_without_places(before)) == before:
        _copy(run.best, copy.best)
    else:
        weights = load_checkpoint(run.best).weights
        write_checkpoint(copy.best, Checkpoint(weights, CheckpointMetadata.model_validate(after)))
    _hand_on_seen(run, copy, metadata)


def _hand_on_seen(run: RunDir | ExportedModel, copy: RunDir | ExportedModel, record: LeakageRecord) -> None:
    for role in record.seen or {}:
        _refuse_pictures(run.seen(role))
        _copy(run.seen(role), copy.seen(role))


def _refuse_pictures(seen: Path) -> None:
    """Seen-sets of the first format hold a grey picture of each photo. Raises DataError for such a file."""
    with reading(seen, DataError, hint=_COPY), zipfile.ZipFile(regular(seen)) as archive:
        parts = {Path(name).stem for name in archive.namelist()}
    if not parts <= _DIGESTS:
        raise DataError(
            f"{seen} is of the first format, which holds a grey picture of every photo.",
            hint="Hand on its export, which keeps digests only: sslmask export RUN. Or train the run again.",
        )


def _hand_on_records(folder: Path, out: Path) -> None:
    for name in _RECORDS:
        if (folder / name).is_file() and not (out / name).exists():
            with reading(folder / name, DataError, hint=_COPY):
                content = parse_json(read_text(folder / name))
            write_json(out / name, tree_without_places(content))


def _copy(path: Path, to: Path) -> None:
    """Copy a file whole or not at all. Raises DataError where it cannot be read, StorageError."""
    with reading(path, DataError, hint=_COPY):
        regular(path)
    with atomic_path(to) as partial:
        shutil.copyfile(path, partial)
