"""The audit of pseudo-labels against true answers: right by a slow loop, and never used by any round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rounds import read_json, same_weights, series_config, write_answers

from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.answers import read_answers
from ssl_mask.pseudo_labeling.audit import audit
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.run import RunDir
from ssl_mask.workflows.pseudo import pseudo

SCHEMA = LabelSchema((Factor("cover", ("worn", "half", "none")), Factor("kind", ("cat", "dog"))))


def pool_of(paths: list[str], **columns: Any) -> PredictionTable:
    """A pool with these labels and selections; its probabilities do not matter."""
    n = len(paths)
    text, none = np.asarray(paths), np.full(n, -1)
    more = {k: np.asarray(v) for k, v in columns.items()}
    probs = np.full((n, 6), 1 / 6, dtype=np.float32)
    return PredictionTable(SCHEMA.joint_classes, text, text, text, text, none, none, none, probs, more)


def draw(seed: int) -> tuple[PredictionTable, dict[str, int]]:
    """A pool of 40 photos in two folders, and answers to most of them: some by path, some by file name."""
    rng = np.random.default_rng(seed)
    paths = [f"{'ab'[i % 2]}/{i}.jpg" for i in range(40)]
    columns = {}
    for name, size in SCHEMA.sizes.items():
        columns |= {f"label/{name}": rng.integers(0, size, 40), f"selected/{name}": rng.random(40) < 0.4}
    answers = {p if rng.random() < 0.5 else p.split("/")[1]: int(rng.integers(0, 6)) for p in paths[:33]}
    return pool_of(paths, **columns), answers | {"elsewhere.jpg": 2}


def slow_audit(pool: PredictionTable, answers: dict[str, int], factors: list[str]) -> tuple[int, int, int]:
    """(selected, selected and right, all) labels of these factors."""
    selected = right = total = 0
    for i, path in enumerate(pool.path.tolist()):
        row = {name: column[i] for name, column in pool.more.items()}
        answer = answers.get(path, answers.get(path.split("/")[-1]))
        if answer is None:
            continue
        truth = {"cover": answer // 2, "kind": answer % 2}
        for name in factors:
            total += 1
            selected += row[f"selected/{name}"]
            right += row[f"selected/{name}"] and row[f"label/{name}"] == truth[name]
    return selected, right, total


@pytest.mark.parametrize("seed", range(5))
def test_precision_and_recall_are_a_loop(seed: int) -> None:
    pool, answers = draw(seed)
    found = audit(pool, answers, SCHEMA)
    assert found["images"] == 33
    cases = [("labels", ["cover", "kind"]), ("cover", ["cover"]), ("kind", ["kind"])]
    for key, factors in cases:
        selected, right, total = slow_audit(pool, answers, factors)
        own = found["labels"] if key == "labels" else found["factors"][key]
        assert own["selected"] == selected
        assert own["precision"] == pytest.approx(right / selected)
        assert own["recall"] == pytest.approx(right / total)


def test_images_selected_as_a_whole_by_hand() -> None:
    pool = pool_of(["1", "2", "3", "4"], **{
        "label/cover": [0, 0, 2, 1], "label/kind": [1, 1, 0, 0],
        "selected/cover": [True, True, True, False], "selected/kind": [True, True, False, True],
    })  # fmt: skip
    found = audit(pool, {"1": 1, "2": 0, "3": 4, "4": 2}, SCHEMA)
    assert found["images_whole"] == {"selected": 2, "precision": 0.5, "recall": 0.25}  # the second is of another kind
    assert found["labels"] == {"selected": 6, "precision": 5 / 6, "recall": 5 / 8}


def test_nothing_selected_has_no_precision_and_no_answer_is_refused() -> None:
    pool, answers = draw(0)
    pool.more["selected/kind"][:] = False
    assert audit(pool, answers, SCHEMA)["factors"]["kind"] == {"selected": 0, "precision": None, "recall": 0.0}
    with pytest.raises(DataError, match="No image of the pool has an answer"):
        audit(pool, {"elsewhere.jpg": 1}, SCHEMA)


@pytest.mark.slow
def test_answers_are_reported_and_never_used(drawn: Path, tmp_path: Path) -> None:
    """The same series with true answers, with shuffled ones and without: the same pseudo-labels and weights."""
    true = write_answers(drawn, tmp_path / "true.csv")
    header, *lines = true.read_text().splitlines()
    answers = np.random.default_rng(0).permutation([line.split(",")[1] for line in lines])
    shuffled = tmp_path / "shuffled.csv"
    cells = [f"{line.split(',')[0]},{a}" for line, a in zip(lines, answers, strict=True)]
    shuffled.write_text("\n".join([header, *cells]) + "\n")
    done = [
        RunDir(pseudo(series_config(drawn, tmp_path / str(i)), audit_answers=a, quiet=True).path)
        for i, a in enumerate((true, shuffled, None))
    ]
    for number in (1, 2):
        first, second, third = (s.round(number) for s in done)
        assert first.pseudo_labels.read_bytes() == second.pseudo_labels.read_bytes() == third.pseudo_labels.read_bytes()
        assert same_weights(first, second)
        assert same_weights(first, third)
        assert read_json(first.audit) != read_json(second.audit)
        assert not third.audit.exists()
    schema = read_metadata(done[0].round(1).best).label_schema
    pool = read_predictions(done[0].round(2).pool, schema)
    assert read_json(done[0].round(2).audit) == audit(pool, read_answers(true, schema).joint, schema)
    assert "precision (audit)" in done[0].card.read_text()
    assert "precision (audit)" not in done[2].card.read_text()
