"""`sslmask predict --run A --run B --weights oof`: what each source counts, chosen where none of them has trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.errors import DataError, InputError
from ssl_mask.evaluation.ensemble import choose_weights, join_tables
from ssl_mask.evaluation.neighbours import Choice, Voting
from ssl_mask.guard.findings import content_digest
from ssl_mask.guard.provenance import SourceGallery, SourceRun, checked_sources
from ssl_mask.inference.neighbour_predictor import choice_record, kept
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.predicted import ChosenWeights, NeighboursRecord
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class Ensemble:
    """What a user named with `--run`, and what each of it counts."""

    sources: tuple[Source, ...]
    chosen: ChosenWeights | None = None
    """None: every source counts equally."""
    neighbours: tuple[Mapping[str, Choice], ...] | None = None
    """Of each source, by factor; None: not asked for."""

    @property
    def shares(self) -> tuple[float, ...]:
        """What each source counts; they sum to 1."""
        if self.chosen is not None and self.chosen.kept:
            return self.chosen.weights
        return (1 / len(self.sources),) * len(self.sources)

    @property
    def votings(self) -> tuple[Mapping[str, Voting], ...] | None:
        """Of each source, the factors on which its training images vote."""
        return None if self.neighbours is None else tuple(map(kept, self.neighbours))

    @property
    def neighbour_records(self) -> tuple[Mapping[str, NeighboursRecord], ...] | None:
        """Of each source, what was chosen for each factor."""
        if self.neighbours is None:
            return None
        return tuple({factor: choice_record(c) for factor, c in own.items()} for own in self.neighbours)

    @cached_property
    def checked_sources(self) -> tuple[SourceRun | SourceGallery, ...]:
        """All that has seen images, also of a source that counts nothing: what it has seen has helped to choose."""
        return tuple(one for source in self.sources for one in checked_sources(source))


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
    if not tables:
        raise DataError(
            f"{source.path} holds no labeled image that its network was not trained on.", hint="Leave out --weights."
        )
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
