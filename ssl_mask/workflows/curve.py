"""`sslmask curve`: the same recipe on a growing share of the labeled groups, and what twice the labels would give.

Each size is an ordinary study of folds in the folder of the runs: `curve-0040`, `curve-0080`, …; finished ones are not
trained again, so the same command goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask import devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.errors import ConfigError, InputError, Interrupted, nothing_written
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.power_law import LEAST, Forecast, forecast
from ssl_mask.files import write_json
from ssl_mask.reports.curve_plot import write_curve
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.study import find_study
from ssl_mask.studies.estimates import estimate_folds
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.train import two_steps

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
APART = 0.03
"""A law of the smaller sizes that misses the score of the largest one by more is not to be relied on."""


@dataclass(frozen=True)
class CurveSize:
    """One point of a learning curve."""

    study: Path
    groups: float
    """Training groups (persons), the mean over the folds."""
    macro_f1: Interval
    """Out-of-fold, 95 % interval by group."""
    accuracy: Interval
    leakage: str


@dataclass(frozen=True)
class LearningCurve:
    """A finished learning curve."""

    sizes: tuple[CurveSize, ...]
    forecast: Forecast
    """Of twice the training groups of the largest size."""
    doubts: tuple[str, ...]
    """Why the forecast says little; empty: nothing speaks against it."""
    table: Path
    """JSON with all of it."""
    plot: Path


def learning_curve(
    config: RunConfig, *, fractions: Sequence[float] = FRACTIONS, folds: int = 3, out: Path | None = None,
    dry_run: bool = False, quiet: bool = False,
) -> LearningCurve | None:  # fmt: skip
    """Train on shares of the labeled groups, score each by out-of-fold predictions, extrapolate to twice the labels.

    All sizes are scored on all labeled images, and all runs get the same number of steps. The groups of a smaller size
    are among those of a larger one. A power law is fitted to 1 - macro-F1 (Hestness et al. 2017, arXiv 1712.00409);
    intervals by bootstrap over the groups that are scored.

    Args:
        config: of every run; `config.name` begins the names of the studies, else `curve`.
        fractions: of the training groups of a fold, ascending, at least three, the last one 1.
        folds: parts of the labeled images; groups are never split.
        out: the JSON; the plot has the same name with `.svg`. None: the name, in the working folder.
        dry_run: check configuration and data, run two steps, print what all of it would cost; returns None.

    Raises:
        SslMaskError: any bad input; a study of such a name that was trained otherwise.
        Interrupted: what is trained is saved, the same call goes on.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces", "min_groups": 1}}, preset="laptop")
        >>> curve = ssl_mask.learning_curve(config, fractions=(0.4, 0.7, 1), folds=2, quiet=True)
        >>> [size.study.name for size in curve.sizes], curve.plot.name
        (['curve-0002', 'curve-0004', 'curve-all'], 'curve.svg')
    """
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    name, asked = config.name or "curve", FoldsSettings(folds=folds)
    with nothing_written("the learning curve"):
        refuse_fractions(fractions)
        if config.data.labeled_groups is not None:
            raise ConfigError("data.labeled_groups is what a learning curve varies.", hint="Leave it out.")
        common = devices.broadcast(accelerator, lambda: checked_config(config, asked, console))
        trained_on = training_groups(common, folds)
        counts = [max(1, round(fraction * min(trained_on))) for fraction in fractions[:-1]]
        if len({*counts, min(trained_on)}) != len(fractions):
            raise InputError(
                f"{min(trained_on)} training groups are too few for {len(fractions)} different sizes.",
                hint="Give fewer --fractions.",
            )
        asked_for = [_of_size(common, name, count) for count in (*counts, None)]
        if dry_run:
            estimate_folds(common, asked, partial(two_steps, accelerator=accelerator, console=console), console)
            console.say(f"Curve  {len(fractions)} such studies, of {', '.join(map(str, counts))} and all groups")
            return None
        begun = [devices.broadcast(accelerator, partial(_begun, one, folds)) for one in asked_for]
    studies = [_trained(one, path, folds, quiet) for one, path in zip(asked_for, begun, strict=True)]
    sizes = [*map(float, counts), float(np.mean(trained_on))]
    made = devices.broadcast(accelerator, lambda: _drawn(studies, sizes, out or Path(f"{name}.json")))
    _tell(made, console)
    return made


def refuse_fractions(fractions: Sequence[float]) -> None:
    """Raises InputError for fractions of which no curve can be made."""
    if len(fractions) < LEAST or list(fractions) != sorted(set(fractions)) or fractions[0] <= 0 or fractions[-1] != 1:
        raise InputError(
            f"--fractions {','.join(f'{f:g}' for f in fractions)} are not at least {LEAST} ascending numbers above 0 "
            "of which the last one is 1.",
            hint="Such as --fractions 0.25,0.5,0.75,1",
        )


def training_groups(common: RunConfig, folds: int) -> list[int]:
    """How many groups each fold trains on."""
    found = []
    for fold in range(folds):
        data = common.data.model_copy(update={"fold": fold})
        found.append(len(set(read_manifest(data, Console(quiet=True)).where("train").groups.tolist())))
    return found


def _of_size(common: RunConfig, name: str, count: int | None) -> RunConfig:
    data = common.data.model_copy(update={"labeled_groups": count})
    return common.model_copy(update={"data": data, "name": f"{name}-{'all' if count is None else f'{count:04d}'}"})


def _begun(config: RunConfig, folds: int) -> Path | None:
    """The study of a size that an earlier call has begun.

    Raises:
        InputError: there is one that was trained otherwise.
    """
    study = find_study(config.runs / str(config.name), config.runs)
    if study is None:
        return None
    record = study.record()
    same = record.kind == "folds" and FoldStudy(study).settings().folds == folds
    if not same or validate(record.config).model_dump(exclude={"runs"}) != config.model_dump(exclude={"runs"}):
        raise InputError(
            f"{study.path} was trained with other settings, so it is no point of this curve.",
            hint="Give the settings that it has, or another --name.",
        )
    return study.path


def _trained(config: RunConfig, begun: Path | None, folds: int, quiet: bool) -> FoldStudy:
    try:
        study = train_folds(config, folds=folds, resume=begun, quiet=quiet)
    except Interrupted as stopped:
        raise Interrupted(
            "Stopped; what is trained is kept.", signal_number=stopped.exit_code - 128,
            hint="The same command goes on with the curve.",
        ) from None  # fmt: skip
    assert study is not None  # for the type checker: a dry run has none
    return study


def _drawn(studies: Sequence[FoldStudy], sizes: Sequence[float], out: Path) -> LearningCurve:
    """Fit the law, and write the table and the plot."""
    tables = [read_predictions(study.oof) for study in studies]
    true, groups, predicted = _aligned(tables)
    records = [study.record() for study in studies]
    found = forecast(sizes, true, predicted, groups, len(tables[0].classes), to=2 * sizes[-1])
    points = tuple(
        CurveSize(study.path, size, _interval(record.macro_f1), _interval(record.accuracy), record.leakage)
        for study, size, record in zip(studies, sizes, records, strict=True)
    )
    curve = LearningCurve(points, found, doubts_of(points, found), out, out.with_suffix(".svg"))
    write_json(out, to_json(curve))
    write_curve(curve.plot, curve)
    return curve


def _interval(record: IntervalRecord) -> Interval:
    return Interval(record.value, record.low, record.high)


def _aligned(tables: Sequence[PredictionTable]) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Classes, groups and (sizes, n) predictions of the images that all sizes predict, in one order."""
    shared = sorted(set.intersection(*(set(table.path[table.predicted >= 0].tolist()) for table in tables)))
    places = [{path: i for i, path in enumerate(table.path.tolist())} for table in tables]
    rows = [np.asarray([at[path] for path in shared], dtype=np.int64) for at in places]
    first = tables[0]
    named = [first.group[i] or f"\0{first.path[i]}" for i in rows[0]]  # an image without a group is one of its own
    predicted = np.stack([table.predicted[own] for table, own in zip(tables, rows, strict=True)])
    return first.true[rows[0]], np.asarray(named), predicted


def doubts_of(sizes: Sequence[CurveSize], found: Forecast) -> tuple[str, ...]:
    """What speaks against the forecast."""
    doubts = []
    if found.gain.low <= 0:
        doubts.append(f"the interval of the gain holds zero ({found.gain.low:+.3f} to {found.gain.high:+.3f})")
    if found.check is not None and abs(found.check - sizes[-1].macro_f1.value) > APART:
        doubts.append(f"the smaller sizes alone foretell {found.check:.3f} for the largest one, which has "
                      f"{sizes[-1].macro_f1.value:.3f}")  # fmt: skip
    if sizes[-1].macro_f1.value <= sizes[0].macro_f1.value:
        doubts.append("the score does not rise with the labels")
    return tuple(doubts)


def to_json(curve: LearningCurve) -> dict[str, Any]:
    """All of it, as `--json` and the file have it."""
    law, found = curve.forecast.law, curve.forecast
    return {
        "sizes": [
            {"study": str(s.study), "groups": s.groups, "macro_f1": s.macro_f1._asdict(),
             "accuracy": s.accuracy._asdict(), "leakage": s.leakage}
            for s in curve.sizes
        ],
        "law": law._asdict(),
        "twice": {"groups": 2 * curve.sizes[-1].groups, "macro_f1": found.score._asdict(),
                  "gain": found.gain._asdict(), "check": found.check},
        "doubts": list(curve.doubts), "plot": str(curve.plot),
    }  # fmt: skip


def _tell(curve: LearningCurve, console: Console) -> None:
    for size in curve.sizes:
        f1 = size.macro_f1
        console.say(
            f"Size   {size.groups:6.1f} groups: out-of-fold macro-F1 {f1.value:.4f} ({f1.low:.4f} to {f1.high:.4f})"
        )
    found = curve.forecast
    console.say(
        f"Twice  {2 * curve.sizes[-1].groups:6.1f} groups: macro-F1 {found.score.value:.4f} "
        f"({found.score.low:.4f} to {found.score.high:.4f}) by a power law, {found.gain.value:+.4f} "
        f"({found.gain.low:+.4f} to {found.gain.high:+.4f})"
    )
    if curve.doubts:
        console.warn(f"What twice the labels would give is not known: {'; '.join(curve.doubts)}.")
    console.say(f"Saved  {curve.table} and {curve.plot}")
