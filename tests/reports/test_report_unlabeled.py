"""Unlabeled images on the page: pairs that the guard found, side by side, and examples of a round of pseudo-labels."""

from __future__ import annotations

import json
from pathlib import Path

import made_records
import numpy as np
from page_runs import PLAIN, draw_images, make_run, manifest_of, predictions

from ssl_mask.data.predictions import write_predictions
from ssl_mask.files import write_json
from ssl_mask.guard.findings import File, Findings, Pair, PoolRecord
from ssl_mask.guard.policy import judge
from ssl_mask.reports.data_card import pool_card, write_card
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.pairs import guarded
from ssl_mask.reports.html.report.pseudo import examples


def test_pairs_of_the_guard_stand_side_by_side(tmp_path: Path) -> None:
    draw_images(tmp_path / "data", ["a.png"])
    draw_images(tmp_path / "extra", ["b.png"])
    run = make_run(tmp_path / "run", tmp_path / "data", names=["a.png"])
    pools = tuple(
        PoolRecord(name, role, name, (File(path, "0" * 64, "", ""),), {}, "")  # type: ignore[arg-type]
        for name, role, path in (("test", "test", "a.png"), ("extra", "unlabeled", "b.png"))
    )
    pair = Pair("test", "extra", "near", 0.97, "a.png", "b.png", "0" * 64, "0" * 64, "", "", "", 2)
    findings = Findings(pools, (pair,), (), {"version": 1})
    verdict = judge(findings)
    for pool, root in (("test", "data"), ("extra", "extra")):
        write_card(run.data_cards, pool_card(findings, verdict, pool, root=tmp_path / root, folder=run.data_cards))
    write_json(run.findings, {"findings": findings.to_json(), "verdict": json.loads(json.dumps(verdict.to_json()))})
    found = guarded(run)
    assert found is not None and found.total == 1
    ((words, first, second),) = found.shown
    assert words == "an altered copy (0.97): test and extra"
    assert [(k.first, k.second, k.kind, k.pairs) for k in found.kinds] == [("test", "extra", "near", 1)]
    album = Album()
    album.add_all([first, second])
    assert [p["s"] for p in album.pictures] == [0, 1] and album.gone == set()
    assert [p["w"] for p in album.pictures] == ["test", "extra"]


def test_a_run_without_the_guard_has_no_findings(tmp_path: Path) -> None:
    assert guarded(make_run(tmp_path / "run", tmp_path, names=["a.png"])) is None


def test_examples_of_a_round(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path, names=["a.png"])
    names = [f"{i}.png" for i in range(40)]
    true, probs = predictions(PLAIN, 40)
    flags = {"selected/kind": np.arange(40) % 2 == 0, "selected/cover": np.zeros(40, bool)}
    write_predictions(run.pool, manifest_of(tmp_path, PLAIN, names, true, "g"), probs, more=flags)
    write_json(run.selection, made_records.selection_record(pool=40, selected=20).to_json())
    found = examples(run, PLAIN, tmp_path)
    order = sorted(range(40), key=lambda i: -float(probs[i].max()))
    selected, rejected = ([i for i in order if i % 2 == odd] for odd in (0, 1))
    assert (found.round, found.selected, found.pool) == (1, 20, 40)
    assert [p.path for p in found.surest] == [f"{i}.png" for i in selected[:16]]
    assert [p.path for p in found.barely] == [f"{i}.png" for i in selected[::-1][:16]]
    assert [p.path for p in found.rejected] == [f"{i}.png" for i in rejected[:16]]
    assert found.surest[0].file == tmp_path / f"{selected[0]}.png"
