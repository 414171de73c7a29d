"""The teachers that a user names, and which of their models may teach a student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError, ModelError, OverlapError
from ssl_mask.guard.teachers import HeldOut, Learned, dishonest, learned_by
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source, find_source


def named_models(references: Sequence[str], runs: Path, schema: LabelSchema) -> dict[Source, Learned]:
    """All models of the named runs and studies, each once, and what each has learned from.

    Factor models of one fold teach together: their product is one model.

    Raises:
        DataError: no such run, or one that is not finished.
        ModelError: one that knows other classes than those of the schema.
    """
    models = [model for name in references for model in find_source(name, runs).models]
    found = {tuple(run.path.resolve() for run in model.members): model for model in models}
    for model in found.values():
        if model.kind == "gallery":
            hint = f"Name what embeds it: --teacher {model.parts[0].path}"
            raise DataError(f"{model.path} is a gallery, which cannot teach.", hint=hint)
    for run in (run for model in found.values() for run in model.members):
        status = run.status()
        if status.status != "finished":
            hint = f"Finish it: sslmask {status.verb} --resume {run.path}"
            raise DataError(f"{run.path} is not finished.", hint=hint)
    for model in found.values():
        if model.schema != schema:
            raise ModelError(f"{called(model)} was trained for other classes.", hint="Name teachers for these labels.")
    return {model: learned_from(model) for model in found.values()}


def learned_from(model: Source) -> Learned:
    """What all runs of a model were trained on with labels."""
    each = [learned_by(run) for run in model.members]
    digests, groups = (
        frozenset[str]().union(*sets) for sets in zip(*((e.digests, e.groups) for e in each), strict=True)
    )
    return Learned(digests, groups, next((e.unknown for e in each if e.unknown), ""))


def honest_models(
    models: Mapping[Source, Learned],
    val: Manifest,
    console: Console,
    *,
    leaked: bool = False,
    student: str = "this run",
) -> tuple[Source, ...]:
    """The models that have learned from nothing that a student is validated on.

    Args:
        val: the student's validation rows, with digests.
        leaked: it is declared that others may teach too: all are taken.
        student: in messages.

    Raises:
        OverlapError: there is none; says what each one has seen.
    """
    held_out = HeldOut.of(val)
    why = {model: dishonest(learned, held_out) for model, learned in models.items()}
    honest = tuple(model for model in models if leaked or not why[model])
    if not honest:
        shown = [f"{called(model)}: {why[model]}." for model in models][:5]
        more = [f"… and {len(models) - 5} more models."] if len(models) > 5 else []
        raise OverlapError(
            "\n".join([f"No teacher has left out the validation images of {student}:", *shown, *more]),
            hint="Name a run with the same data.fold, data.folds and data.split_seed, or a study of folds: one of its "
            "models has left them out (sslmask train --folds 5).",
        )
    if leaked and any(why.values()):
        console.warn(f"{sum(map(bool, why.values()))} teachers have seen validation images of {student}, as declared.")
    elif len(honest) < len(models):
        console.say(f"Teach  {len(honest)} of {len(models)} models: they have not seen what validates {student}")
    return honest


def called(model: Source) -> str:
    """A model in messages: its run, or a fold of a study of factor models."""
    return str(model.path) if model.kind == "run" else f"{model.path} ({model.members[0].name} of each factor)"


def has_validation(run: RunDir, val: Manifest) -> bool:
    """Whether a run was validated on exactly these rows, which have digests: its score compares."""
    own = {c["sha256"] for _, c in read_csv(run.manifest, columns=("split", "sha256")) if c["split"] == "val"}
    return own == {r.digest for r in val.rows}
