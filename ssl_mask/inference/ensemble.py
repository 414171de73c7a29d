"""`sslmask predict --run A --run B --weights oof`: what each source counts, chosen where none of them has trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.errors import DataError, InputError
from ssl_mask.evaluation.ensemble import choose_weights, join_tables
from ssl_mask.guard.findings import content_digest
from ssl_mask.guard.provenance import SourceRun, runs_of
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.predicted import ChosenWeights
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class Ensemble:
    """What a user named with `--run`, and what each of it counts."""

    sources: tuple[Source, ...]
    chosen: ChosenWeights | None = None
    """None: every source counts equally."""

    @property
    def shares(self) -> tuple[float, ...]:
        """What each source counts; they sum to 1."""
        if self.chosen is not None and self.chosen.kept:
            return self.chosen.weights
        return (1 / len(self.sources),) * len(self.sources)

    @cached_property
    def runs(self) -> tuple[SourceRun, ...]:
        """The members of all sources, also of one that counts nothing: what they have seen has helped to choose."""
        return tuple(run for source in self.sources for run in runs_of(source))


def oof_weights(sources: Sequence[Source], console: Console) -> ChosenWeights:
    """Choose the weights of several sources, and say whether they are kept.

    Raises:
        InputError: one source. DataError: no honest predictions, or of other images, labels, groups or folds.
    """
    if len(sources) < 2:
        raise InputError("There is one source, so nothing to weigh.", hint="The runs of a study always count equally.")
    names = [source.name for source in sources]
    joined = join_tables([honest_table(source) for source in sources], names)
    choice = choose_weights(joined)
    record = ChosenWeights(
        weights=tuple(choice.weights.tolist()), kept=choice.kept, macro_f1_mean=choice.mean,
        gain=IntervalRecord(**choice.gain._asdict()), images=choice.images, groups=choice.groups,
        chosen_on=content_digest(joined.sha256.tolist()),
    )  # fmt: skip
    console.say("Weights " + weights_sentence(names, record))
    return record


def honest_table(source: Source) -> PredictionTable:
    """Predictions of labeled images by models that have not seen their groups; of several tables their mean.

    Raises:
        DataError: there are none, or they are damaged.
    """
    for table in source.tables:
        if not table.is_file():
            raise DataError(
                f"{source.path} has no predictions of labeled images that it was not trained on.",
                hint="Leave it out, or leave out --weights: then all count equally.",
            )
    tables = [read_validation(table) for table in source.tables]
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    for path, other in zip(source.tables, tables, strict=True):
        if other.classes != first.classes or other.sha256.tolist() != first.sha256.tolist():
            raise DataError(f"{path} is of other images than {source.tables[0]}.", hint="Name the runs one by one.")
    probs = np.stack([table.probs for table in tables]).mean(axis=0)
    return replace(first, probs=probs, predicted=probs.argmax(axis=1))


def weights_sentence(names: Sequence[str], chosen: ChosenWeights) -> str:
    """The weights and their gain, or that the plain mean is kept, in one line."""
    told = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names, chosen.weights, strict=True))
    gain = f"{chosen.gain.value:+.3f} (95 % {chosen.gain.low:+.3f} to {chosen.gain.high:+.3f})"
    measured = f"macro-F1 on {chosen.images} images, with weights from the other folds, less that of the plain mean"
    if chosen.kept:
        return f"{told}: {gain} {measured}"
    return f"the plain mean is kept: {gain} {measured}; the weights would have been {told}"
