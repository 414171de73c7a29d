"""Whether a run beats its probe is said plainly, as the interval says it."""

from __future__ import annotations

import pytest

from ssl_mask.reports import study_samples
from ssl_mask.reports.comparison import comparison_text
from ssl_mask.reports.reference import reference_note, reference_sentence
from ssl_mask.reports.samples import predictions
from ssl_mask.reports.study_card import study_card
from ssl_mask.runs.comparison import ReferenceScore


def score(low: float, high: float) -> ReferenceScore:
    f1 = {"value": (low + high) / 2, "low": low, "high": high}
    reference = {"value": 0.42, "low": 0.38, "high": 0.46}
    return ReferenceScore.model_validate({"macro_f1": reference, "difference": {"macro_f1": f1, "accuracy": f1}})


@pytest.mark.parametrize(
    ("low", "high", "verdict", "title"),
    [
        (0.01, 0.09, "this run is 0.0500 above it", "Better than a probe"),
        (-0.09, -0.01, "this run is WORSE, by 0.0500", "Not shown to be better than a probe"),
        (-0.02, 0.06, "this run is NOT shown to be better: +0.0200", "Not shown to be better than a probe"),
        (0.0, 0.06, "this run is NOT shown to be better: +0.0300", "Not shown to be better than a probe"),
    ],
)
def test_the_words_follow_the_interval(low: float, high: float, verdict: str, title: str) -> None:
    found = score(low, high)
    assert "frozen backbone: macro-F1 0.4200; " in reference_sentence(found, "this run")
    for text in (reference_sentence(found, "this run"), reference_note(found, "this run")):
        assert verdict in text and f"{low:+.4f} to {high:+.4f}" in text
    assert reference_note(found, "this run").startswith(f"**{title}** (")


def test_studies_and_comparisons_say_it_too() -> None:
    record, curves = study_samples.folds()
    card = study_card(
        "runs/study-001", record.model_copy(update={"reference": score(0.01, 0.09)}), predictions(), curves
    )
    assert "- **Better than a probe**" in card and "this study is 0.0500 above it" in card
    compared = study_samples.comparison().model_copy(update={"reference": score(-0.02, 0.06)})
    assert "training with unlabeled images is NOT shown to be better" in comparison_text(compared)
