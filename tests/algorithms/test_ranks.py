"""Two processes, here two threads that meet for every mean: their gradients average to those of one process.

On LayerNorm networks. A rank that asks for a mean too many or too few leaves the other waiting, which is an error too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from slow_reference import FACTORS, FLAT, POOL, Net, Views, apart, asked_of, make_batch, step, with_rule
from torch import Tensor

from ssl_mask.algorithms.adamatch import AdaMatchRule
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.flexmatch import FlexMatchRule
from ssl_mask.algorithms.freematch import FreeMatchRule
from ssl_mask.algorithms.running import Alignment
from ssl_mask.algorithms.softmatch import SoftMatchRule
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.types import Averaging, Batch, Gathering, Labeled, Losses, Unlabeled

Maker = Callable[[Net, Averaging, int], Consistency]  # the last one: processes that share a batch


class Meeting:
    """Two ranks that wait for each other."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=10)
        self.values: list[Tensor] = [torch.zeros(())] * 2
        self.means = [0, 0]

    def of(self, rank: int) -> Averaging:
        return lambda value: self._both(rank, value, lambda values: torch.stack(values).mean(dim=0))

    def gathering(self, rank: int) -> Gathering:
        """`halves` cuts in the middle, so that one rank's values after the other's are in the order of the batch."""
        return lambda value: self._both(rank, value, torch.cat)

    def _both(self, rank: int, value: Tensor, together: Callable[[list[Tensor]], Tensor]) -> Tensor:
        self.values[rank] = value.detach().clone()
        self.means[rank] += 1
        self.barrier.wait()
        found = together(self.values)
        self.barrier.wait()
        return found


def halves(batch: Batch) -> list[Batch]:
    """Each rank's share, with views of its own to ask."""
    labeled = zip(batch.labeled.images.chunk(2), batch.labeled.labels.chunk(2), strict=True)
    assert batch.unlabeled is not None and batch.unlabeled.rows is not None
    views = batch.unlabeled.strong.images  # type: ignore[attr-defined]
    unlabeled = zip(*(t.chunk(2) for t in (batch.unlabeled.weak, views, batch.unlabeled.rows)), strict=True)
    return [Batch(Labeled(*a), Unlabeled(b[0], Views(b[1]), b[2])) for a, b in zip(labeled, unlabeled, strict=True)]


def confident_last(batch: Batch, net: Net) -> Batch:
    """Unlabeled images in order of confidence, so that the ranks differ as much as they can."""
    assert batch.unlabeled is not None and isinstance(batch.unlabeled.strong, Views)
    tops = [z.softmax(1).amax(1) for z in net(batch.unlabeled.weak).values()]
    order = torch.stack(tops).amax(0).argsort()
    weak, views, rows = batch.unlabeled.weak[order], Views(batch.unlabeled.strong.images[order]), batch.unlabeled.rows
    return batch._replace(unlabeled=Unlabeled(weak, views, rows))


def on_two_ranks(
    make: Maker, heads: dict[str, int], batches: list[Batch], progress: float
) -> tuple[list[tuple[Losses, Tensor]], list[Consistency], Meeting]:
    """The last step's losses and gradients, and the algorithms, of both ranks."""
    meeting, nets = Meeting(), [Net(heads), Net(heads)]
    algorithms = [make(net, meeting.of(rank), 2) for rank, net in enumerate(nets)]
    for rank, algorithm in enumerate(algorithms):
        if isinstance(algorithm.rule, FlexMatchRule):
            algorithm.rule.gather = meeting.gathering(rank)
    shares = [halves(batch) for batch in batches]

    def run(rank: int) -> tuple[Losses, Tensor]:
        try:
            return [step(algorithms[rank], nets[rank], share[rank], progress) for share in shares][-1]
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(2) as pool:
        done = [future.result() for future in [pool.submit(run, 0), pool.submit(run, 1)]]
    assert meeting.means[0] == meeting.means[1]
    return done, algorithms, meeting


def on_one(
    make: Maker, heads: dict[str, int], batches: list[Batch], progress: float
) -> tuple[Losses, Tensor, Consistency]:
    net = Net(heads)
    algorithm = make(net, lambda value: value.detach(), 1)
    losses, grads = [step(algorithm, net, batch, progress) for batch in batches][-1]
    return losses, grads, algorithm


MAKERS: dict[str, tuple[dict[str, int], Maker]] = {
    "uda": (FLAT, lambda net, mean, _: with_rule(UdaRule(0.7, 0.4), net, mean=mean)),
    "annealed": (FLAT, lambda net, mean, _: with_rule(UdaRule(0.7, 0.4), net, mean=mean, tsa="linear")),
    "annealed factors": (FACTORS, lambda net, mean, _: with_rule(UdaRule(0.97, 0.4), net, mean=mean, tsa="linear")),
    "annealed joint": (
        FACTORS,
        lambda net, mean, _: with_rule(UdaRule(0.3, 0.4), net, mean=mean, tsa="log", joint=True),
    ),
    "flexmatch": (FLAT, lambda net, mean, _: with_rule(FlexMatchRule(0.8, POOL), net, mean=mean)),
    "flexmatch factors": (FACTORS, lambda net, mean, _: with_rule(FlexMatchRule(0.9, POOL), net, mean=mean)),
    "adamatch": (FLAT, lambda net, mean, _: with_rule(AdaMatchRule(0.9, 0.5), net, mean=mean)),
    "freematch": (FLAT, lambda net, mean, _: with_rule(FreeMatchRule(0.5, 0.3), net, mean=mean)),
    "softmatch": (FLAT, lambda net, mean, n: with_rule(SoftMatchRule(0.5, 2.0, processes=n), net, mean=mean)),
    "aligned": (
        FLAT,
        lambda net, mean, _: with_rule(UdaRule(0.7, 0.4), net, mean=mean, alignment=Alignment(None, 0.5)),
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_and_statistics_are_those_of_one_process(name: str) -> None:
    heads, make = MAKERS[name]
    batches = [confident_last(make_batch(heads, labeled=8, unlabeled=12, seed=s), Net(heads)) for s in range(6)]
    _, expected, alone = on_one(make, heads, batches, 0.5)
    done, algorithms, _ = on_two_ranks(make, heads, batches, 0.5)
    assert apart((done[0][1] + done[1][1]) / 2, expected) < 1e-6
    for algorithm in algorithms:
        torch.testing.assert_close(algorithm.state_dict(), alone.state_dict(), rtol=1e-5, atol=1e-7)
    kept = [losses.stats["kept"].item() for losses, _ in done]
    assert kept[0] != kept[1] or name in ("softmatch", "flexmatch factors")


@pytest.mark.parametrize("tsa", ["off", "linear"])
def test_also_where_one_rank_has_no_survivors(tsa: str) -> None:
    net = Net(FLAT)
    batch = confident_last(make_batch(FLAT, labeled=8, unlabeled=12), net)
    tops = net(batch.unlabeled.weak)["class"].softmax(1).amax(1).tolist()  # type: ignore[union-attr]
    threshold = (tops[7] + tops[8]) / 2

    def make(net: Net, mean: Averaging, _: int) -> Consistency:
        return with_rule(UdaRule(threshold, 0.4), net, mean=mean, tsa=tsa)

    _, expected, _ = on_one(make, FLAT, [batch], 0.5)
    assert asked_of(batch) == [[8, 9, 10, 11]]
    done, _, _ = on_two_ranks(make, FLAT, [batch], 0.5)
    assert [losses.stats["kept"].item() for losses, _ in done] == pytest.approx([0.0, 4 / 6])
    assert apart((done[0][1] + done[1][1]) / 2, expected) < 1e-6


def test_annealing_with_different_numbers_kept_a_rank_and_none_on_one() -> None:
    net, batch = Net(FLAT), make_batch(FLAT, labeled=12, unlabeled=4)
    correct, labels = net(batch.labeled.images)["class"].detach().softmax(1).max(1)
    order = correct.argsort()
    batch = batch._replace(labeled=Labeled(batch.labeled.images[order], labels[order, None]))

    def make(net: Net, mean: Averaging, _: int) -> Consistency:
        return with_rule(UdaRule(0.7, 0.4), net, mean=mean, tsa="linear")

    seen = []
    # η with a third, half and two thirds of the images below it: in order of p, so that the ranks keep all, some, none.
    for index in (4, 6, 8):
        threshold = float((correct[order[index - 1]] + correct[order[index]]) / 2)
        progress = (threshold - 0.2) / 0.8
        _, expected, _ = on_one(make, FLAT, [batch], progress)
        done, _, _ = on_two_ranks(make, FLAT, [batch], progress)
        assert apart((done[0][1] + done[1][1]) / 2, expected) < 1e-6
        seen.append([round(6 * losses.stats["tsa_kept/class"].item()) for losses, _ in done])
    assert seen == [[4, 0], [6, 0], [6, 2]]


def test_ranks_meet_equally_often_with_fairness_where_one_believes_nothing() -> None:
    def make(net: Net, mean: Averaging, _: int) -> Consistency:
        return with_rule(FreeMatchRule(0.0, 0.1), net, mean=mean)

    batch = confident_last(make_batch(FLAT, labeled=8, unlabeled=12), Net(FLAT))
    done, _, meeting = on_two_ranks(make, FLAT, [batch], 0.5)
    assert meeting.means == [4, 4] and all(grads.isfinite().all() for _, grads in done)
