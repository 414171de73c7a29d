"""The scores of many pairs against one pair after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textures import texture, write

from ssl_mask.guard.copies import scoring
from ssl_mask.guard.copies.candidates import Hits
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.pair_store import Scores
from ssl_mask.guard.copies.pictures import pictures
from ssl_mask.guard.copies.scoring import Side, scores_of
from ssl_mask.guard.copies.verification import similarity, view


@pytest.mark.parametrize("processes", [1, 2])
def test_they_are_those_of_a_loop_whatever_is_kept_ready(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_TILE", 3)
    monkeypatch.setattr(scoring, "_PAIRS_PER_TASK", 4)
    same = [texture(seed) for seed in range(5)]
    changed = [np.ascontiguousarray(picture[4:, 6:]) for picture in same] + [texture(9)[:, ::-1].copy(), same[0].copy()]
    sides = []
    for name, images in (("first", same), ("second", changed)):
        prints = fingerprint(write(tmp_path / name, images), cache=None)
        sides.append(Side(prints, pictures(prints)))
    first, second = sides
    rng = np.random.default_rng(0)
    j, i = np.divmod(rng.permutation(len(first.pictures.digests) * len(second.pictures.digests)), 5)
    bits = np.where(rng.random(len(i)) < 0.5, 0b00010001, 0b00110011).astype(np.uint8)
    told: list[int] = []
    found = scores_of(
        Hits(i, j, bits), first, second, known=Scores(None), processes=processes, on_progress=told.append
    )  # fmt: skip
    assert told[0] == 0
    assert told[-1] == len(i)
    for row in range(len(i)):
        a = first.prints.thumbs[first.pictures.positions[i[row]]]
        b = second.prints.thumbs[second.pictures.positions[j[row]]]
        ways = [v for v in range(8) if bits[row] >> v & 1]
        lower_first = bytes(first.pictures.digests[i[row]]) < bytes(second.pictures.digests[j[row]])
        back = [v if v >= 4 else -v % 4 for v in ways]
        score = similarity(view(a), view(b), ways) if lower_first else similarity(view(b), view(a), sorted(back))
        assert found[row] == np.float32(score)
    assert scoring._ready.cache_info().currsize == 0  # 100 MB, if it stayed
