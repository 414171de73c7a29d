"""Which model explains an image, what is explained of it, and what the page of a run shows of that."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import made_records
import numpy as np
import pytest
import torch
from page_runs import PLAIN, draw_images, make_run, manifest_of, predictions

from ssl_mask.cli.verbs import load
from ssl_mask.config import ModelConfig
from ssl_mask.data.predictions import PredictionTable, read_validation, write_predictions
from ssl_mask.errors import ConfigError, InputError
from ssl_mask.evaluation.heat import Explained
from ssl_mask.inference.explain import explain, rows_by_run
from ssl_mask.models.classifier import build_classifier
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.report.page import report_html
from ssl_mask.runs.checkpoint import Checkpoint, write_checkpoint
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source, run_source
from ssl_mask.workflows import report as workflow

pytest.importorskip("captum", reason="sslmask[explain] is not installed")
NAMES = [f"{i:03d}.png" for i in range(24)]
MODEL = {"backbone": "test_efficientnet", "weights": "none", "embedding_size": 8}


def give_weights(run: RunDir, target: str = "factors") -> None:
    """A network that was never trained in the place of the made-up weights."""
    torch.manual_seed(0)
    model, size = build_classifier(PLAIN.heads(target), image_size=64, **MODEL)
    made = made_records.metadata(
        model=ModelConfig(**MODEL), image_size=size, schema=PLAIN, target=target, prior=(1,) * 6,
        temperatures=dict.fromkeys(PLAIN.heads(target), 1.0),
    )  # fmt: skip
    write_checkpoint(run.best, Checkpoint(model.state_dict(), made))


def only(run: RunDir, keep: slice) -> RunDir:
    """The run with some of its images as its validation part."""
    root = Path(run.data().root)
    true, probs = predictions(PLAIN, len(NAMES))
    rows = manifest_of(root, PLAIN, NAMES[keep], true[keep], "p").with_digests(
        map(digest, (root / n for n in NAMES[keep]))
    )
    write_predictions(run.validation, rows, probs[keep], fold=0)
    return run


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("data")
    draw_images(folder, NAMES)
    return folder


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Read only."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    made = make_run(folder, root, names=NAMES, digests=[digest(root / n) for n in NAMES])
    give_weights(made)
    return made


@pytest.fixture(scope="module")
def table(run: RunDir) -> PredictionTable:
    return read_validation(run.validation)


def wrong_factors(table: PredictionTable, row: int) -> list[tuple[str, str]]:
    """Name and predicted class of each factor that is wrong, from the names of the joint classes."""
    true, predicted = (table.classes[int(joint[row])].split("/") for joint in (table.true, table.predicted))
    return [(f.name, p) for f, t, p in zip(PLAIN.factors, true, predicted, strict=True) if t != p]


def test_the_first_model_that_was_not_trained_on_an_image_speaks_for_it(
    root: Path, tmp_path: Path, table: PredictionTable
) -> None:
    parts = [slice(0, 10), slice(8, 20)]  # rows 8 and 9: with --repeats two models can say something
    members = [only(make_run(tmp_path / f"fold-{i}", root, names=NAMES), part) for i, part in enumerate(parts)]
    folds = Source(tmp_path, "folds", tuple(map(run_source, members)))
    asked = [3, 21, 9, 8, 15]
    assert [(v.run.name, v.rows) for v in rows_by_run(folds, table, asked)] == [
        ("fold-0", (3, 9, 8)),
        ("fold-1", (15,)),
    ]
    both = Source(tmp_path, "factors", (folds, run_source(members[1])))
    assert [(v.run.name, v.rows) for v in rows_by_run(both, table, asked)] == [
        ("fold-0", (3, 9, 8)), ("fold-1", (15,)), ("fold-1", (9, 8, 15))
    ]  # fmt: skip


def test_each_wrong_factor_has_a_map(run: RunDir, root: Path, table: PredictionTable) -> None:
    wrong = np.flatnonzero(table.true != table.predicted).tolist()
    found = explain(run_source(run), table, wrong, root)
    told = {row: [(h.factor, h.predicted) for h in heats] for row, heats in found.heats.items()}
    assert told == {row: wrong_factors(table, row) for row in wrong} and not found.gone
    assert any(len(heats) == 2 for heats in told.values())
    for heat in (h for heats in found.heats.values() for h in heats):
        assert heat.model == "one" and heat.cells.shape == (2, 2) and (heat.cells >= 0).all()


def test_of_a_joint_head_the_joint_class_is_explained(root: Path, tmp_path: Path, table: PredictionTable) -> None:
    joint = only(make_run(tmp_path / "joint", root, names=NAMES), slice(0, 24))
    give_weights(joint, "joint")
    row = int(np.flatnonzero(table.true != table.predicted)[0])
    (heat,) = explain(run_source(joint), table, [row], root).heats[row]
    assert (heat.factor, heat.predicted) == ("joint", table.classes[int(table.predicted[row])])


def test_images_that_are_gone_or_changed_are_not_explained(run: RunDir, tmp_path: Path, table: PredictionTable) -> None:
    draw_images(tmp_path, NAMES)
    first, second, third = np.flatnonzero(table.true != table.predicted)[:3].tolist()
    (tmp_path / NAMES[first]).unlink()
    (tmp_path / NAMES[second]).write_bytes((tmp_path / NAMES[third]).read_bytes())
    found = explain(run_source(run), table, [first, second, third], tmp_path)
    assert found.gone == {first, second} and found.heats.keys() == {third}


def test_the_page_shows_the_maps_and_says_them_in_words(run: RunDir) -> None:
    report = workflow.gather(run.path, explain=True)
    assert isinstance(report.explained, Explained) and report.looks is not None
    album = Album()
    html = report_html(report, album)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])  # type: ignore[index]
    number = {picture["n"]: picture for picture in data["pictures"]}
    for row, heats in report.explained.heats.items():
        picture = number[NAMES[row]]
        for (copy, words), heat in zip(picture["h"], heats, strict=True):
            assert data["copies"][copy].startswith("data:image/webp") and copy != picture["s"]
            assert words.startswith(f"{heat.factor} {heat.predicted}: ")
            assert re.search(r"\d+% of the heat in the central half, hottest|no heat: no place", words)
    right = [n for i, n in enumerate(NAMES) if i not in report.explained.heats]
    assert right and not any("h" in number[name] for name in right)
    assert "Where the network looked" in html and "A map has 2 × 2 cells" in html
    assert album.images == len(NAMES) < len(album.copies)
    assert "Where the network looked</strong>" not in report_html(workflow.gather(run.path), Album())


def test_what_cannot_be_explained_is_said_at_once(
    run: RunDir, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tmp_path / "whole", root, names=NAMES)
    whole.update(data={**whole.data().to_json(), "val_images": 0, "val_groups": 0}, best=None)
    with pytest.raises(InputError, match="trained on all labels"):
        workflow.gather(whole.path, explain=True)
    command = load("report")
    with pytest.raises(ConfigError, match="--text writes no page"):
        command.main([str(run.path), "--text", "--explain"], standalone_mode=False)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.setattr(workflow, "find_source", None)  # nothing is read before
    with pytest.raises(InputError, match="--explain needs captum"):
        command.main([str(run.path), "--explain"], standalone_mode=False)
    assert not (run.path / "report.html").exists()
