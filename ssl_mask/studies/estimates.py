"""`--dry-run` of a study: what all of its runs together would cost, from two steps of the first one. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ssl_mask.config import RunConfig, factor_config
from ssl_mask.console import Console
from ssl_mask.reports.tune_card import splits
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.study import Study
from ssl_mask.runs.trials import TuneSettings
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.training.cost import Cost

TwoSteps = Callable[[RunConfig], Cost]
"""Runs two steps of a run, and says what the whole would cost."""


def estimate_folds(config: RunConfig, asked: FoldsSettings, two_steps: TwoSteps, console: Console) -> None:
    """Run two steps of the first fold and print what all runs together would take."""
    cost, runs = two_steps(first_fold(config)), asked.folds * asked.repeats
    minutes = seconds_of(cost, asked) / 60
    more = " and a refit on all labels" if asked.refit else ""
    console.say(f"Dry run: configuration, data and all {asked.folds} folds are fine.")
    console.say(
        f"Study: {runs} runs ({asked.folds} folds x {asked.repeats}){more}, each of {cost.steps} steps of "
        f"{cost.step_seconds:.2f} s and {cost.evaluations} evaluations of {cost.evaluation_seconds:.1f} s."
    )
    console.say(
        f"Estimate: {minutes:.1f} minutes in all, {cost.memory_gb:.2f} GB memory, and until the folds are finished "
        f"{runs * cost.kept_bytes / 1e9:.2f} GB of disk for the weights of all evaluations."
    )


def estimate_factors(
    config: RunConfig, factors: Iterable[str], folds: FoldsSettings | None, two_steps: TwoSteps, console: Console
) -> None:
    """Run two steps of the first run of each factor and print what all runs together would take."""
    total = 0.0
    for name in factors:
        own = factor_config(config, name)
        if folds is not None:
            own = checked_config(own, folds, Console(quiet=True))
        cost = two_steps(own)
        seconds = cost.seconds if folds is None else seconds_of(cost, folds)
        runs = 1 if folds is None else folds.folds * folds.repeats
        total += seconds
        console.say(
            f"Factor {name}: {runs} runs of {cost.steps} steps of {cost.step_seconds:.2f} s and {cost.evaluations} "
            f"evaluations of {cost.evaluation_seconds:.1f} s: {seconds / 60:.1f} minutes"
        )
    console.say("Dry run: configuration and data of all factors are fine.")
    console.say(f"Estimate: {total / 60:.1f} minutes in all, {cost.memory_gb:.2f} GB memory.")


def estimate_search(config: RunConfig, asked: TuneSettings, two_steps: TwoSteps, console: Console) -> None:
    """Run two steps of the default's first fold and print what a whole search would take."""
    parts, other = FoldsSettings(folds=asked.folds, repeats=asked.repeats), FoldsSettings(folds=asked.folds)
    cost = two_steps(first_fold(checked_config(config, parts, Console(quiet=True))))
    runs, confirming = asked.folds * asked.repeats, 2 * asked.confirm
    minutes = (asked.trials * seconds_of(cost, parts) + confirming * seconds_of(cost, other)) / 60
    more = f"; then the default and the winner on {splits(asked.confirm)}: {confirming * asked.folds} runs"
    more *= asked.confirm > 0
    console.say(f"Dry run: configuration, space, data and all {asked.folds} folds are fine.")
    console.say(
        f"Search: {asked.trials} trials of {runs} runs, each of {cost.steps} steps of {cost.step_seconds:.2f} s and "
        f"{cost.evaluations} evaluations of {cost.evaluation_seconds:.1f} s{more}."
    )
    console.say(
        f"Estimate: {minutes:.1f} minutes in all if every run costs what the default does, less for trials that are "
        f"stopped early; {cost.memory_gb:.2f} GB memory, and while a trial trains {runs * cost.kept_bytes / 1e9:.2f} "
        "GB of disk for the weights of all evaluations."
    )


def first_fold(config: RunConfig) -> RunConfig:
    """The configuration of the first run of a study of folds, which is not there yet."""
    return FoldStudy(Study(config.runs / (config.name or "study"))).member_config(config, 0, 0)


def seconds_of(cost: Cost, asked: FoldsSettings) -> float:
    """What a study takes, from the cost of one of its runs."""
    return asked.folds * asked.repeats * cost.seconds + asked.refit * cost.steps * cost.step_seconds
