"""The contact sheet of found pairs: every picture in its place, the strongest first, never an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ssl_mask.guard.findings import Kind, Pair
from ssl_mask.reports.contact_sheet import LINE
from ssl_mask.reports.pair_sheet import SHEET, pair_sheet, strongest


def pair(kind: Kind, score: float, first: str = "a.png", second: str = "b.png") -> Pair:
    return Pair("test", "train", kind, score, first, second, "", "", "cat", "dog", "g" if kind == "group" else "", 2)


def test_the_surest_first() -> None:
    pairs = [pair("review", 0.93), pair("near", 0.95), pair("group", 0), pair("bytes", 1), pair("near", 0.99)]
    assert [(p.kind, p.score) for p in strongest(pairs, 4)] == [
        ("bytes", 1), ("near", 0.99), ("near", 0.95), ("review", 0.93)
    ]  # fmt: skip


def test_both_pictures_stand_side_by_side_and_a_lost_one_is_grey(tmp_path: Path) -> None:
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (300, 200), colour).save(tmp_path / f"{name}.png")
    long = "x" * 300 + b"\xe9|\n".decode("utf-8", "surrogateescape") + ".png"
    pairs = [pair("near", 0.95), pair("near", 0.94, second="gone.png"), *[pair("review", 0.9, second=long)] * 5]
    roots = {"test": tmp_path, "train": tmp_path}
    sheet = np.asarray(Image.open(pair_sheet(pairs, roots, tmp_path / "sheet.png", most=4)))
    assert sheet.shape[1::-1] == SHEET.size(4)

    def middle(cell: int, picture: int) -> list[int]:
        left, top = SHEET.picture(cell, picture)
        return list(sheet[top + SHEET.side // 2, left + SHEET.side // 2])

    assert middle(0, 0) == [255, 0, 0] and middle(0, 1) == [0, 0, 255]
    assert middle(1, 0) == [255, 0, 0] and middle(1, 1) == [128, 128, 128]


def test_names_do_not_run_into_the_next_pair(tmp_path: Path) -> None:
    for letter in "Wi":
        pairs = [pair("near", 0.95, first=letter * 300, second=letter * 40)] * 2
        sheet = np.asarray(Image.open(pair_sheet(pairs, {"test": tmp_path, "train": tmp_path}, tmp_path / "s.png")))
        (left, top), (next_left, _) = SHEET.corner(0), SHEET.corner(1)
        captions = sheet[top : top + 3 * LINE - 1]
        assert (captions[:, left + SHEET.cell_width + 1 : next_left - 1] == 255).all()
        assert (captions[:, left : left + SHEET.cell_width] < 128).any(axis=(1, 2)).sum() > LINE
