"""Selection from shards equals the rules on all rows at once, whatever the blocks; broken folders are named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from ssl_mask.errors import DataError
from ssl_mask.inference import shards as files
from ssl_mask.inference.shards import read_shards, shard_name
from ssl_mask.pseudo_labeling.streaming import Selected, count_predicted, select_rows
from ssl_mask.selection.rules import TopPrediction, above, capped, percentile, quotas, top_k, top_prediction

CLASSES = ("a", "b", "c", "d")


class Pool(NamedTuple):
    paths: NDArray[np.str_]
    digests: NDArray[np.str_]
    probs: NDArray[np.float32]

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Pool:
        return Pool(*(column[which] for column in self))

    @property
    def tops(self) -> TopPrediction:
        """None of an unreadable photo."""
        own = top_prediction(self.probs)
        return own._replace(predicted=np.where(self.digests == "", -1, own.predicted))


def draw(n: int = 300, seed: int = 0) -> Pool:
    """Predictions with many ties, some unreadable photos (no digest) and some without a prediction."""
    rng = np.random.default_rng(seed)
    probs = (rng.multinomial(10, rng.dirichlet(np.full(len(CLASSES), 0.3), n)) / 10).astype(np.float32)
    probs[rng.random(n) < 0.05] = np.nan
    digests = np.asarray([hashlib.sha256(f"{seed}/{i}".encode()).hexdigest() for i in range(n)])
    digests = np.where(rng.random(n) < 0.05, "", digests)
    return Pool(np.asarray([f"photo {i}.jpg" for i in rng.permutation(n)]), digests, probs)


def table(pool: Pool) -> pa.Table:
    columns = {"path": pool.paths.tolist(), "sha256": pool.digests.tolist(), "group": [""] * len(pool.paths)}
    return pa.table(columns | {f"p/{name}": pool.probs[:, i] for i, name in enumerate(CLASSES)})


def write(folder: Path, pool: Pool, *, shards: int = 3, row_group: int = 1000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(pool.paths)), shards)):
        pq.write_table(table(pool.take(rows)), folder / shard_name(number, shards), row_group_size=row_group)
    return folder


Chosen = NDArray[np.bool_]
THRESHOLDS = np.asarray([0.5, 0.8, np.inf, 0.9])
CASES: dict[str, tuple[Callable[[Path], Selected], Callable[[Pool], Chosen]]] = {
    "everything": (
        lambda folder: select_rows(folder, CLASSES),
        lambda pool: pool.tops.predicted >= 0,
    ),
    "threshold": (
        lambda folder: select_rows(folder, CLASSES, decide=lambda p, _: above(top_prediction(p), 0.7)),
        lambda pool: above(pool.tops, 0.7),
    ),
    "precision": (
        lambda folder: select_rows(folder, CLASSES, decide=lambda p, _: above(top_prediction(p), THRESHOLDS)),
        lambda pool: above(pool.tops, THRESHOLDS),
    ),
    "by key": (
        lambda folder: select_rows(folder, CLASSES, decide=lambda _, keys: keys < b"8"),
        lambda pool: (pool.tops.predicted >= 0) & (pool.digests < "8"),
    ),
    "top none": (
        lambda folder: select_rows(folder, CLASSES, limits=0),
        lambda pool: top_k(pool.tops, 0, pool.digests),
    ),
    "top k": (
        lambda folder: select_rows(folder, CLASSES, limits=7),
        lambda pool: top_k(pool.tops, 7, pool.digests),
    ),
    "percentile": (
        lambda folder: select_rows(folder, CLASSES, limits=quotas(count_predicted(folder, CLASSES), 0.3)),
        lambda pool: percentile(pool.tops, 0.3, pool.digests),
    ),
    "threshold, capped": (
        lambda folder: select_rows(folder, CLASSES, decide=lambda p, _: above(top_prediction(p), 0.7), limits=5),
        lambda pool: capped(above(pool.tops, 0.7), pool.tops, 5, pool.digests),
    ),
    "percentile, capped": (
        lambda folder: select_rows(
            folder, CLASSES, limits=np.minimum(quotas(count_predicted(folder, CLASSES), 0.5), 9)
        ),
        lambda pool: capped(percentile(pool.tops, 0.5, pool.digests), pool.tops, 9, pool.digests),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("block", [3, 16, 65_536])
@pytest.mark.parametrize(("shards", "row_group"), [(1, 1000), (3, 10), (7, 1)])
def test_streaming_equals_the_rule_on_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block: int, shards: int, row_group: int
) -> None:
    monkeypatch.setattr(files, "BLOCK", block)
    select, rule = CASES[name]
    pool = draw()
    selected = select(write(tmp_path, pool, shards=shards, row_group=row_group))
    expected = pool.take(rule(pool))
    expected = expected.take(np.argsort(expected.digests))
    assert selected.paths == expected.paths.tolist()
    assert selected.digests == expected.digests.tolist()
    assert selected.probs.dtype == np.float32
    assert (selected.probs == expected.probs).all()


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_rows_and_shards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(files, "BLOCK", 8)
    select, pool = CASES[name][0], repeated(draw())
    once = select(write(tmp_path / "as drawn", pool))
    for seed in range(3):
        shuffled = pool.take(np.random.default_rng(seed).permutation(len(pool.paths)))
        again = select(write(tmp_path / str(seed), shuffled, shards=2 + seed))
        assert (again.paths, again.digests) == (once.paths, once.digests)
        assert (again.probs == once.probs).all()


def repeated(pool: Pool) -> Pool:
    """Two thirds of the photos once more under another path, half of those with other probabilities."""
    again = pool.take(np.arange(len(pool.paths)) % 3 > 0)
    probs = again.probs.copy()
    probs[::2] = np.roll(probs[::2], 1, axis=0)
    again = Pool(np.asarray([f"copy of {p}" for p in again.paths]), again.digests, probs)
    return Pool(*(np.concatenate(pair) for pair in zip(pool, again, strict=True)))


def slow_top(pool: Pool, k: int) -> list[tuple[str, str]]:
    """(digest, path): the k best photos of each class; one that two classes claim goes to the more confident row."""
    predicted, confidence, _ = pool.tops
    order = sorted(
        np.flatnonzero(predicted >= 0), key=lambda i: (-confidence[i], pool.digests[i], predicted[i], pool.paths[i])
    )
    places: dict[int, dict[str, int]] = {c: {} for c in range(len(CLASSES))}
    for i in order:
        own = places[int(predicted[i])]
        if len(own) < k:
            own.setdefault(str(pool.digests[i]), int(i))
    chosen: dict[str, int] = {}
    for i in order:
        if i in places[int(predicted[i])].values():
            chosen.setdefault(str(pool.digests[i]), int(i))
    return sorted((digest, str(pool.paths[i])) for digest, i in chosen.items())


@pytest.mark.parametrize("block", [3, 16, 65_536])
@pytest.mark.parametrize("k", [1, 6, 30, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_photos_of_the_same_content_take_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, k: int, seed: int
) -> None:
    monkeypatch.setattr(files, "BLOCK", block)
    pool = repeated(draw(seed=seed))
    selected = select_rows(write(tmp_path, pool), CLASSES, limits=k)
    assert list(zip(selected.digests, selected.paths, strict=True)) == slow_top(pool, k)


def test_of_two_equal_rows_the_first_path_stays(tmp_path: Path) -> None:
    pool = Pool(np.asarray(["z", "b", "a"]), np.asarray(["1", "2", "1"]), np.tile(np.float32([0.7, 0.3, 0, 0]), (3, 1)))
    selected = select_rows(write(tmp_path, pool), CLASSES, limits=2)
    assert (selected.paths, selected.digests) == (["a", "b"], ["1", "2"])


def test_counts_are_of_readable_rows(tmp_path: Path) -> None:
    pool = draw()
    expected = [int((pool.tops.predicted == c).sum()) for c in range(len(CLASSES))]
    assert count_predicted(write(tmp_path, pool), CLASSES).tolist() == expected
    assert sum(expected) < len(pool.paths)


def test_counts_leave_out_what_may_not_be_selected(tmp_path: Path) -> None:
    pool = draw()
    excluded = pool.digests[::3]
    counts = count_predicted(
        write(tmp_path, pool), CLASSES, decide=lambda _, keys: ~np.isin(keys.astype(str), excluded)
    )
    free = [c for c, digest in zip(pool.tops.predicted, pool.digests, strict=True) if digest not in set(excluded)]
    assert counts.tolist() == [free.count(c) for c in range(len(CLASSES))]


def test_missing_values_are_no_prediction(tmp_path: Path) -> None:
    rows = table(draw(20).take(np.arange(4)))
    rows = rows.set_column(1, "sha256", pa.array([None, "1", "2", "3"]))
    rows = rows.set_column(3, "p/a", pa.array([1.0, 1.0, None, 0.5], pa.float32()))
    pq.write_table(rows, tmp_path / shard_name(0, 1))
    assert set(select_rows(tmp_path, CLASSES).digests) <= {"1", "3"}


def test_an_empty_pool_selects_nothing(tmp_path: Path) -> None:
    selected = select_rows(write(tmp_path, draw().take(np.arange(0))), CLASSES, limits=5)
    assert selected.paths == selected.digests == []
    assert selected.probs.shape == (0, len(CLASSES))


def test_shards_come_in_order_and_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, draw(), shards=11)
    (folder / "provenance.json").write_text("{}")
    assert [p.name for p in read_shards(folder, CLASSES)] == [f"shard-{i:05d}-of-00011.parquet" for i in range(11)]


def other_schema(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / shard_name(1, 3)
    pq.write_table(change(pq.read_table(path)), path)


def cut(folder: Path) -> None:
    path = folder / shard_name(1, 3)
    path.write_bytes(path.read_bytes()[:-40])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: (f / shard_name(1, 3)).unlink(), r"lacks shard-00001-of-00003\.parquet\."),
    "two missing": (
        lambda f: [(f / shard_name(i, 3)).unlink() for i in (0, 2)],
        r"lacks shard-00000-of-00003\.parquet and 1 more",
    ),
    "mixed": (lambda f: write(f, draw(), shards=4), "mixes predictions in 3 and in 4 shards"),
    "too high": (
        lambda f: shutil.copy(f / shard_name(1, 3), f / shard_name(3, 3)),
        r"shard-00003-of-00003\.parquet is none of 3 shards",
    ),
    "none": (lambda f: [p.unlink() for p in f.iterdir()], "holds no shards"),
    "other classes": (
        lambda f: other_schema(f, lambda t: t.rename_columns([*t.column_names[:-1], "p/e"])),
        r"shard-00001-of-00003\.parquet was made for other classes",
    ),
    "a column twice": (
        lambda f: other_schema(f, lambda t: t.append_column("path", t.column("path"))),
        "two columns of the same name",
    ),
    "fewer classes": (lambda f: other_schema(f, lambda t: t.drop_columns(["p/d"])), "made for other classes"),
    "no digests": (lambda f: other_schema(f, lambda t: t.drop_columns(["sha256"])), "no text column 'sha256'"),
    "numbers for paths": (
        lambda f: other_schema(f, lambda t: t.set_column(0, "path", pa.array(range(len(t))))),
        "no text column 'path'",
    ),
    "words for numbers": (
        lambda f: other_schema(f, lambda t: t.set_column(3, "p/a", pa.array(["x"] * len(t)))),
        "'p/a' holds no probabilities",
    ),
    "cut off": (cut, r"shard-00001-of-00003\.parquet"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_named(tmp_path: Path, name: str) -> None:
    break_, message = BROKEN[name]
    folder = write(tmp_path, draw())
    break_(folder)
    with pytest.raises(DataError, match=message) as caught:
        select_rows(folder, CLASSES)
    assert caught.value.hint


def test_damage_inside_a_shard_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, draw()) / shard_name(1, 3)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-00001-of-00003\.parquet"):
        select_rows(tmp_path, CLASSES)


def test_an_error_of_the_rule_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    def decide(*_: object) -> NDArray[np.bool_]:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        select_rows(write(tmp_path, draw()), CLASSES, decide=decide)
