"""The card of each kind of run and study, so that the page says the same as the card, word for word."""

from __future__ import annotations

from pathlib import Path

from ssl_mask.data.predictions import read_validation
from ssl_mask.reports.comparison import comparison_card
from ssl_mask.reports.factors import factors_card
from ssl_mask.reports.gallery_card import gallery_card
from ssl_mask.reports.html.report.words import Card, split_card
from ssl_mask.reports.html.subject import Subject
from ssl_mask.reports.rounds_card import rounds_card
from ssl_mask.reports.run_card import run_card
from ssl_mask.reports.study_card import study_card
from ssl_mask.runs.base import read_record
from ssl_mask.runs.comparison import ComparisonRecord
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study

MADE_WITH = ("Data", "Made with")
ELSEWHERE = ("Classes (validation)", "Classes (out of fold)", "Rounds", "Rounds of pseudo-labels")
"""Sections that the page has in a place of their own."""


def card_of(subject: Subject) -> Card:
    """The card of a run or a study; that of a study says also how its first run was made."""
    source, path = subject.source, subject.source.path
    if source.kind == "run":
        return split_card(run_card(RunDir(path)))
    made = split_card(run_card(subject.runs[0])).sections
    if source.kind == "gallery":
        card = split_card(gallery_card(source.gallery))
    elif source.kind == "rounds":
        rounds = RoundStudy(Study(path))
        card = split_card(rounds_card(rounds, rounds.record()))
        card.sections.update({k: v for k, v in folds_card(rounds.best).sections.items() if k not in card.sections})
    elif source.kind == "folds":
        card = folds_card(FoldStudy(Study(path)))
    elif source.kind == "factors":
        study = source.factor_study
        card = split_card(factors_card(study.path.name, study.record(), folds=study.settings().folds))
    else:
        card = split_card(comparison_card(path.name, comparison_record(path)))
    return Card(card.verdict, {**card.sections, **{title: made[title] for title in MADE_WITH}})


def folds_card(folds: FoldStudy) -> Card:
    """The card of a study of folds."""
    evaluations = {run.name: [r for r in run.records() if r["kind"] == "val"] for run in folds.members()}
    return split_card(study_card(str(folds.path), folds.record(), read_validation(folds.oof), evaluations))


def comparison_record(study: Path) -> ComparisonRecord:
    """The comparison of a study of seeds. Raises DataError when it is missing or damaged."""
    path = Study(study).comparison
    return read_record(path, ComparisonRecord, hint=f"Delete it and resume the study: {study}")
