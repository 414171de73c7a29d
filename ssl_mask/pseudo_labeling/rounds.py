"""Rounds of pseudo-labels, one after the other, until all are there, nothing can be selected, or the score falls."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ssl_mask.console import Console
from ssl_mask.pseudo_labeling.record import NothingSelectedError

KEPT = "The best round so far is kept."


def each_round(
    numbers: Iterable[int], train: Callable[[int], None], report: Callable[[int], None],
    fell: Callable[[int], bool], console: Console, *, taught: bool, scored: str,
) -> str:  # fmt: skip
    """Train and report rounds.

    Args:
        numbers: of the rounds.
        train: select and train what is missing of a round.
        report: a round that is trained.
        fell: whether its score is below that of the best round before, beyond the interval.
        taught: named teachers are in the place of round 0, which is not trained.
        scored: what kind of score it is, such as `Validation`.

    Returns:
        A sentence: why there are fewer rounds than were asked for; empty where there are not.

    Raises:
        NothingSelectedError: in the first round that trains; nothing is there yet that could be kept.
    """
    for number in numbers:
        if number > 0 or not taught:
            try:
                train(number)
            except NothingSelectedError as nothing:
                if number == 1 and taught:
                    raise
                console.say(f"Stop   {nothing.problem} {KEPT} For another study: {nothing.hint}")
                return nothing.problem
        report(number)
        if fell(number):
            why = f"{scored} macro-F1 fell beyond its interval in round {number}."
            console.say(f"Stop   {why} {KEPT}")
            return why
    return ""
