"""What a model card tells of a run, a study or an exported network, from its own records."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.errors import SslMaskError
from ssl_mask.guard.lineage import mark_of
from ssl_mask.guard.provenance import SourceRun, runs_of
from ssl_mask.reports.html.subject import subject_of
from ssl_mask.reports.model_scores import ModelFacts, Scored, evaluations, exported_scores, mark_of_source, own_score
from ssl_mask.runs.exported import ExportedModel, ExportRecord, read_exported
from ssl_mask.runs.records import DataRecord
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source, find_source


def facts_of(source: Source) -> ModelFacts:
    """Of a run or a study.

    Raises:
        DataError, ModelError: a file of it is missing or damaged.
    """
    subject, runs = subject_of(source), runs_of(source)
    own = own_score(subject)
    first = runs[0].metadata
    declared = [run.metadata.declaration for run in runs if run.metadata.declaration is not None]
    return ModelFacts(
        name=source.name,
        schema=source.schema,
        mark=mark_of_source(source),
        declared=declared[0] if declared else None,
        scores=(*(() if own is None else (own,)), *evaluations(source)),
        networks=tuple(map(_network, runs)),
        files=tuple(run.run.best.relative_to(source.path).as_posix() for run in runs),
        data=first.data,
        builds_on=tuple(dict.fromkeys(name for run in runs for name in run.metadata.ancestors)),
        code=first.code,
        knows_seen=all(run.metadata.seen is not None for run in runs),
    )


def facts_of_exported(model: ExportedModel) -> ModelFacts:
    """Of an exported network; its score is that of the run which it was made from, where that is still beside it.

    Raises:
        DataError: a file of it is damaged. ModelError, MismatchError: as `read_exported`.
    """
    record = read_exported(model.path)
    own, data, networks = _of_its_run(model, record)
    squares = ", ".join(f"{s.size} px" for s in record.squares)
    told = networks or tuple(f"a network for photos of {squares}" for _ in record.source.runs)
    return ModelFacts(
        name=f"{record.name} (ONNX{', 8 bits' if record.int8 is not None else ''})",
        schema=record.label_schema,
        mark=mark_of(record),
        declared=record.declaration,
        scores=exported_scores(model, record, own),
        networks=told,
        files=(model.path.name,),
        data=data,
        builds_on=record.ancestors,
        code=record.code,
        knows_seen=record.seen is not None,
        bits8=_bits8(record),
    )


def _network(run: SourceRun) -> str:
    """Such as `tf_efficientnet_lite0, 224 px`."""
    model = run.metadata.model
    name = "EfficientNet-Lite0 (embedded)" if model.backbone == "embedded" else model.backbone
    return f"{name}, {run.metadata.image_size} px, head {model.head}"


def _of_its_run(model: ExportedModel, record: ExportRecord) -> tuple[Scored | None, DataRecord | None, tuple[str, ...]]:
    """Score, data and networks of the run that was exported, beside it or where it was, if its weights are the same."""
    weights = {run.checkpoint_sha256 for run in record.source.runs}
    for place in (model.path.absolute().parent.parent, Path(record.source.source)):
        try:
            source = find_source(place, place.parent)
            if {file_digest(run.best) for run in source.members} == weights:
                networks = tuple(map(_network, runs_of(source)))
                return own_score(subject_of(source)), source.members[0].data(), networks
        except (SslMaskError, OSError):
            continue
    return None, None, ()


def _bits8(record: ExportRecord) -> str:
    if (small := record.int8) is None:
        return ""
    price = small.price
    return (
        "Scores above are of 32 bits, where they are not of predictions of this file. 8 bits change macro-F1 on the "
        f"validation images by {price.value:+.4f} (95 % interval {price.low:+.4f} to {price.high:+.4f}, by group)."
    )
