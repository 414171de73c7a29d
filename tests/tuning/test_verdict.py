"""Whether a winner is better than the default or was lucky, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from small_searches import MADE, outcome, search

from ssl_mask.config import resolve
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import write_predictions
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import macro_f1
from ssl_mask.reports import study_samples
from ssl_mask.reports.tune_card import luck, sentences, trials_csv, tune_card
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.trials import TrialRecord, VerdictRecord
from ssl_mask.tuning.recipe import recipe, recipe_text
from ssl_mask.tuning.space import changed
from ssl_mask.tuning.verdict import Pair, judge, winner_of

IMAGES, GROUPS = 240, 60
TRUE = np.arange(IMAGES) % 3


def trial(number: int, value: float, **more: object) -> TrialRecord:
    fields = outcome(value)._asdict() | {"number": number, "params": {}, "state": "finished"} | more
    return TrialRecord.model_validate(fields)


def table(path: Path, right: np.ndarray, *, backwards: bool = False) -> Path:
    """Predictions of 240 images of 60 groups; wrong ones are of the next class."""
    rows = tuple(
        Row(f"{i:03d}.jpg", f"g{i // 4}", "val", "made", (int(t),), digest=f"{i:064x}") for i, t in enumerate(TRUE)
    )
    probs = np.eye(3, dtype=np.float32)[np.where(right, TRUE, (TRUE + 1) % 3)]
    order = slice(None, None, -1 if backwards else 1)
    manifest = Manifest(path.parent, "table", MADE, rows[order], True, Submission("image", ("answer",), "names"))
    write_predictions(path, manifest, probs[order])
    return path


def by_group(seed: int, share: float) -> np.ndarray:
    return np.repeat(np.random.default_rng(seed).random(GROUPS) < share, IMAGES // GROUPS)


def slow_interval(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Mean over splits of the difference in macro-F1; groups are drawn with replacement, copied image by image."""

    def difference(images: np.ndarray) -> float:
        wrong = (TRUE + 1) % 3
        sides = [[macro_f1(TRUE[images], np.where(s, TRUE, wrong)[images], 3) for s in pair] for pair in pairs]
        return float(np.mean([b - a for a, b in sides]))

    rng = np.random.default_rng(0)
    size = IMAGES // GROUPS
    drawn = [
        difference((rng.integers(GROUPS, size=GROUPS)[:, None] * size + np.arange(size)).ravel()) for _ in range(1000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return difference(np.arange(IMAGES)), float(low), float(high)


def test_the_interval_is_that_of_a_slow_bootstrap(tmp_path: Path) -> None:
    sides = [(by_group(s, 0.5), by_group(s, 0.5) | by_group(s + 9, 0.2)) for s in (1, 2)]
    pairs = {
        s: Pair(table(tmp_path / f"{s}-a.parquet", a), table(tmp_path / f"{s}-b.parquet", b, backwards=True))
        for s, (a, b) in enumerate(sides)
    }
    verdict = judge(trial(3, 0.6), trial(0, 0.5), pairs, grouped=True)
    assert verdict.confirmed is not None and verdict.search_gain == pytest.approx(0.1)
    value, low, high = slow_interval(sides)
    assert verdict.confirmed.value == pytest.approx(value, abs=1e-9)
    assert (verdict.confirmed.low, verdict.confirmed.high) == pytest.approx((low, high), abs=0.02)
    assert verdict.recommended == (verdict.confirmed.low > 0)
    assert (verdict.images, verdict.groups, len(verdict.splits)) == (IMAGES, GROUPS, 2)
    assert np.mean([s.winner - s.default for s in verdict.splits]) == pytest.approx(value)


def test_it_is_recommended_only_where_the_interval_excludes_zero(tmp_path: Path) -> None:
    default = table(tmp_path / "a.parquet", by_group(1, 0.4))
    better = table(tmp_path / "b.parquet", by_group(1, 0.4) | by_group(2, 0.5))
    other = table(tmp_path / "c.parquet", by_group(3, 0.45))
    winner, base = trial(5, 0.61), trial(0, 0.5)
    assert judge(winner, base, {1: Pair(default, better)}, grouped=True).recommended
    doubtful = judge(winner, base, {1: Pair(default, other)}, grouped=True)
    assert not doubtful.recommended and "the interval includes 0" in sentences(doubtful)[0]
    worse = judge(winner, base, {1: Pair(better, default)}, grouped=True)
    assert not worse.recommended and "is worse" in sentences(worse)[0]
    same = judge(winner, base, {1: Pair(default, default)}, grouped=True)
    assert not same.recommended and "100% of the gain in the search was luck" in sentences(same)[1]


def test_tables_of_other_images_are_refused(tmp_path: Path) -> None:
    good, short = table(tmp_path / "a.parquet", by_group(1, 0.4)), tmp_path / "b.parquet"
    manifest = Manifest(tmp_path, "table", MADE, (Row("x.jpg", "g", "val", "made", (0,), digest="0" * 64),), True,
                        Submission("image", ("answer",), "names"))  # fmt: skip
    write_predictions(short, manifest, np.eye(3, dtype=np.float32)[:1])
    with pytest.raises(DataError, match=r"b\.parquet is not of the same images"):
        judge(trial(5, 0.6), trial(0, 0.5), {1: Pair(good, short)}, grouped=True)


def test_the_winner_is_the_best_finished_trial_and_may_be_the_default() -> None:
    records = [trial(0, 0.5), trial(1, 0.7, state="failed"), trial(2, 0.6), trial(3, 0.6)]
    best = winner_of(records, "macro_f1")
    assert best is not None and best.number == 2
    by_loss = winner_of([trial(0, 0.5, nll=0.1), trial(1, 0.9, nll=0.2)], "nll")
    assert by_loss is not None and by_loss.number == 0
    assert winner_of([trial(1, 0.7, state="failed")], "macro_f1") is None
    kept = judge(trial(0, 0.5), trial(0, 0.5), {}, grouped=True)
    assert not kept.recommended and sentences(kept)[0] == "Keep the default: no trial was better."


def test_without_a_comparison_nothing_is_recommended() -> None:
    unproven = judge(trial(5, 0.6), trial(0, 0.5), {}, grouped=True)
    assert not unproven.recommended and "--confirm 0" in sentences(unproven)[0]
    failed = TrialRecord(number=0, params={}, state="failed", reason="diverged")
    alone = judge(trial(5, 0.6), failed, {}, grouped=True)
    assert not alone.recommended and "failed: diverged" in sentences(alone)[0] and alone.search_gain is None


@pytest.mark.parametrize(("gain", "confirmed", "said"), [(0.1, 0.025, "75%"), (0.1, 0.2, "None"), (0.1, -0.1, "100%")])
def test_how_much_was_luck(gain: float, confirmed: float, said: str) -> None:
    interval = IntervalRecord(value=confirmed, low=-1, high=1)
    assert said in luck(VerdictRecord(winner=1, params={}, search_gain=gain, confirmed=interval, recommended=False))


@pytest.mark.parametrize("preset", ["laptop", "uda_laptop", "none"])
def test_the_recipe_is_short_and_gives_the_same_configuration(preset: str) -> None:
    base = resolve([{"preset": preset, "runs": "elsewhere", "name": "x", "data": {"root": "faces"}}])
    for params in (
        {},
        {"optim.lr": 0.5, "model.pooling": "gem"},
        {"train.epochs": 2},
        {"algorithm.threshold": {"a": 0.5}},
    ):
        winner = changed(base, params)
        made = recipe(winner)
        again = resolve([yaml.safe_load(yaml.safe_dump(made))])
        assert again == winner.model_copy(update={"runs": again.runs, "name": None})
        assert len(made) <= 6


def test_best_yaml_opens_with_what_is_known_of_it(tmp_path: Path) -> None:
    journal = search(tmp_path / "tune-001", 24)
    _, _, verdict, _ = study_samples.search()
    text = recipe_text(journal.study, changed(resolve([{"preset": "laptop"}]), verdict.params), verdict)
    comments = " ".join(line.strip("# ") for line in text.splitlines() if line.startswith("#"))
    for words in ("24 trials of 3 folds over space.yaml", "model.pooling=", "+0.0612", "+0.0213", "+0.0041 to +0.0398",
                  "Recommended", f"sslmask train --folds 5 -c {journal.study.best}"):  # fmt: skip
        assert words in comments
    assert yaml.safe_load(text)["preset"] == "laptop"


def test_the_card_and_the_table_have_every_trial() -> None:
    asked, records, verdict, importance = study_samples.search()
    card = tune_card("runs/tune-001", asked, records, verdict, importance)
    assert card.count("| finished |") + card.count("| pruned |") + card.count("| failed |") == len(records)
    assert (
        "The loss is not finite at step 12" in card
        and "| optim.lr | 81% |" in card
        and "| 1 | 0.4132 | 0.4401 |" in card
    )
    lines = trials_csv(records, ["optim.lr", "model.pooling"]).splitlines()
    assert lines[0].startswith("number,state,optim.lr,model.pooling,macro_f1,low,high,nll")
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(len(records)))
