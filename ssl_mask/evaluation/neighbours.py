"""What the nearest labeled images say: votes of groups, and their mean with a network's own probabilities.

    p_knn(c) = (k · Σ_g softmax(cosine_g / T) [label_g = c] + 1 / C) / (k + 1)          over the k nearest groups g
    log p(c) = (1 − w) log p_head(c) + w log p_knn(c) + constant                        for each factor

The 1/C is one more vote that is spread evenly, so that no class is impossible. k, T and w are chosen for each factor by
macro-F1 where no image's group was trained on, and judged by nested folds: the settings of a fold are those that suit
the others. A setting is kept only where its gain is beyond the 95 % interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.ensemble import nested_parts
from ssl_mask.evaluation.metrics import Interval, macro_f1, paired_bootstrap

COUNTS = (1, 3, 5, 10, 20, 50)
TEMPERATURES = (0.02, 0.05, 0.1, 0.2)
"""Of a cosine: at 0.1, a neighbour that is nearer by 0.1 counts e times as much."""
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LEAST = 1e-12
"""Of a probability in a logarithm."""


class Voting(NamedTuple):
    """How many groups vote, and how."""

    k: int
    temperature: float
    weight: float = 1.0
    """Of the votes against the network: 1 is the votes alone."""


@dataclass(frozen=True)
class Neighbourhood:
    """Labeled images that a network was not trained on, its neighbours among those that it was trained on."""

    cosine: NDArray[np.float32]
    """(n, k) of the nearest groups, the nearest first; -inf where there are fewer."""
    labels: NDArray[np.int64]
    """(n, k, factors) their class indices."""
    probs: NDArray[np.float32]
    """(n, joint classes) of the network."""
    true: NDArray[np.int64]
    """(n, factors)."""
    group: NDArray[np.str_]
    fold: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Neighbourhood]) -> Neighbourhood:
        """The images of several networks."""
        names = ("cosine", "labels", "probs", "true", "group", "fold")
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class Choice:
    """The setting of a factor, and what choosing it is worth on images that it does not see."""

    voting: Voting
    head: float
    """Macro-F1 of the factor by the network alone."""
    gain: Interval
    """Macro-F1 with settings chosen on the other folds, less that of the network alone; paired, by group."""
    images: int
    groups: int

    @property
    def kept(self) -> bool:
        """Whether neighbours help beyond the interval."""
        return self.gain.low > 0 and self.voting.weight > 0


def vote(
    cosine: NDArray[Any], labels: NDArray[np.int64], classes: int, voting: Voting
) -> NDArray[np.float64]:  # fmt: skip
    """(n, classes) p_knn of one factor.

    Args:
        cosine: (n, m) of the nearest groups, the nearest first; -inf where there are fewer.
        labels: (n, m) their classes; not looked at where there is no group.
    """
    near, own = cosine[:, : voting.k].astype(np.float64), labels[:, : voting.k]
    there = np.isfinite(near)
    scaled = np.where(there, near, -np.inf) / voting.temperature
    top = np.max(scaled, axis=1, initial=-np.inf, keepdims=True)
    raised = np.where(there, np.exp(scaled - np.where(np.isfinite(top), top, 0)), 0.0)
    shares = raised / np.maximum(raised.sum(axis=1, keepdims=True), LEAST)
    votes = np.zeros((len(near), classes))
    row = np.broadcast_to(np.arange(len(near))[:, None], near.shape)
    np.add.at(votes, (row[there], own[there]), shares[there])
    count = there.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = (count * votes + 1 / classes) / (count + 1)
    return found


def votes_of(
    cosine: NDArray[Any], labels: NDArray[np.int64], schema: LabelSchema, votings: Mapping[str, Voting]
) -> dict[str, NDArray[np.float64]]:
    """(n, classes) p_knn of each factor that has a setting. Arguments as `Neighbourhood`."""
    return {
        name: vote(cosine, labels[:, :, i], size, votings[name])
        for i, (name, size) in enumerate(schema.sizes.items())
        if name in votings
    }


def fused(
    probs: NDArray[np.float32], votes: Mapping[str, NDArray[np.float64]], votings: Mapping[str, Voting],
    schema: LabelSchema,
) -> NDArray[np.float32]:  # fmt: skip
    """(n, joint classes) probabilities of network and neighbours together; without votes, those of the network.

    The joint probability is multiplied by (p_knn / p_head)^w of each factor and made to sum to 1: where the factors of
    the network are independent, each factor is then the mean of above; otherwise they stay as dependent as they were.

    Args:
        probs: (n, joint classes); NaN stays NaN.
        votes: as `votes_of`.
    """
    if not votes:
        return probs
    own = schema.marginals(probs)
    columns = dict(zip(schema.sizes, schema.part(np.arange(probs.shape[1])).T, strict=True))
    log = np.log(np.maximum(probs.astype(np.float64), LEAST))
    for name, p_knn in votes.items():
        ratio = np.log(np.maximum(p_knn, LEAST)) - np.log(np.maximum(own[name].astype(np.float64), LEAST))
        log += votings[name].weight * ratio[:, columns[name]]
    raised = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def choose(near: Neighbourhood, schema: LabelSchema) -> dict[str, Choice]:
    """The setting of each factor.

    Raises:
        DataError: all images are of one group, so nothing can be held out.
    """
    parts = nested_parts(near.fold, near.group, hint="Leave out --neighbours.")
    heads = schema.marginals(near.probs)
    return {
        name: _choose(near.cosine, near.labels[:, :, i], heads[name], near.true[:, i], near.group, parts)
        for i, name in enumerate(schema.sizes)
    }


def _choose(
    cosine: NDArray[np.float32], labels: NDArray[np.int64], head: NDArray[np.float32], true: NDArray[np.int64],
    group: NDArray[np.str_], parts: NDArray[np.int64],
) -> Choice:  # fmt: skip
    """Of one factor: `labels` is (n, k), `head` (n, classes), `true` (n,), `parts` what is held out together."""
    classes = head.shape[1]
    votings, predicted, logs = [], [], []
    for voting, probs in _candidates(cosine, labels, head):
        votings.append(voting)
        predicted.append(probs.argmax(axis=1))
        logs.append(np.log(np.maximum(probs[np.arange(len(true)), true], LEAST)))

    def best(rows: NDArray[np.bool_]) -> int:
        """Of equal macro-F1 the higher likelihood, to the ninth digit; then the first: the network alone."""
        scores = [
            (macro_f1(true[rows], p[rows], classes), round(float(log[rows].mean()), 9))
            for p, log in zip(predicted, logs, strict=True)
        ]
        return max(range(len(scores)), key=scores.__getitem__)

    nested = np.empty(len(true), np.int64)
    for part in np.unique(parts):
        own = parts == part
        nested[own] = predicted[best(~own)][own]
    plain = predicted[0]
    gain = paired_bootstrap(true, plain[None], nested[None], group, classes)["macro_f1"]
    chosen = votings[best(np.ones(len(true), np.bool_))]
    return Choice(chosen, macro_f1(true, plain, classes), gain, len(true), len(np.unique(group)))


def _candidates(
    cosine: NDArray[np.float32], labels: NDArray[np.int64], head: NDArray[np.float32]
) -> Iterator[tuple[Voting, NDArray[np.float64]]]:
    """Each setting and its (n, classes) probabilities; the network alone (weight 0) is first."""
    yield Voting(COUNTS[0], TEMPERATURES[0], 0.0), head.astype(np.float64)
    log_head = np.log(np.maximum(head.astype(np.float64), LEAST))
    for count in (k for i, k in enumerate(COUNTS) if i == 0 or COUNTS[i - 1] < cosine.shape[1]):
        for temperature in TEMPERATURES if count > 1 else TEMPERATURES[:1]:  # one vote counts alike at any
            voting = Voting(count, temperature)
            log_votes = np.log(np.maximum(vote(cosine, labels, head.shape[1], voting), LEAST))
            for weight in WEIGHTS:
                log = (1 - weight) * log_head + weight * log_votes
                raised = np.exp(log - log.max(axis=1, keepdims=True))
                yield voting._replace(weight=weight), raised / raised.sum(axis=1, keepdims=True)
