"""What stands in a report, against loops and calculation by hand."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import numpy as np
import pytest
from page_runs import PLAIN
from PIL import Image
from sklearn.metrics import f1_score

from ssl_mask.config import load_config
from ssl_mask.data.predictions import PredictionTable, predicted_class
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.label_doubts import label_doubts
from ssl_mask.evaluation.metrics import bootstrap
from ssl_mask.reports.html.charts import Chart, Line, axis
from ssl_mask.reports.html.conditions import binned, measure, sample
from ssl_mask.reports.html.report import mistakes
from ssl_mask.reports.html.report.reliability import points
from ssl_mask.reports.html.report.report import cell_order
from ssl_mask.reports.html.report.settings import differences
from ssl_mask.reports.html.report.versus import versus
from ssl_mask.reports.html.report.words import split_card, to_html
from ssl_mask.reports.html.serve import server_of

TWO = LabelSchema((Factor("kind", ("cat", "dog")),))


def table_of(true: list[int], probs: list[list[float]], groups: list[str], classes: tuple[str, ...]) -> PredictionTable:
    n, p = len(true), np.asarray(probs, dtype=np.float32)
    names = np.asarray([f"{i}.png" for i in range(n)])
    return PredictionTable(classes, names, names, np.asarray([f"{i:064x}" for i in range(n)]), np.asarray(groups),
                           np.zeros(n, np.int64), np.asarray(true), predicted_class(p), p, {})  # fmt: skip


def random_table(images: int = 200, seed: int = 0) -> PredictionTable:
    rng = np.random.default_rng(seed)
    size = len(PLAIN.joint_classes)
    probs = rng.dirichlet(np.ones(size), images)
    true = np.random.default_rng(7).integers(0, size, images)
    return table_of(true.tolist(), probs.tolist(), [f"g{i % 23}" for i in range(images)], PLAIN.joint_classes)


def test_confusions_count_images_and_groups() -> None:
    table, names = random_table(), PLAIN.joint_classes
    pairs: dict[tuple[int, int], list[str]] = {}
    for t, p, g in zip(table.true.tolist(), table.predicted.tolist(), table.group.tolist(), strict=True):
        if t != p:
            pairs.setdefault((t, p), []).append(g)
    found = mistakes.confusions(table, names, most=1000)
    assert {(c.true, c.predicted): (c.images, c.groups) for c in found} == {
        pair: (len(groups), len(set(groups))) for pair, groups in pairs.items()
    }
    assert [c.images for c in found] == sorted((len(g) for g in pairs.values()), reverse=True)
    assert all(c.of == (table.true == c.true).sum() and c.names[0] == names[c.true] for c in found)


def test_the_matrix_of_a_factor_counts_its_classes() -> None:
    table = random_table()
    joint, kind, cover = mistakes.matrices(table, PLAIN)
    assert (joint.factor, kind.title, cover.factor) == (-1, "kind", 1)
    for t, row in enumerate(kind.rows):
        for cell in row.cells:
            assert cell.images == sum(
                a // 2 == t and b // 2 == cell.predicted for a, b in zip(table.true, table.predicted, strict=True)
            )
            assert cell.shade == round(10 * cell.images / row.images)
    many = LabelSchema((Factor("x", tuple(map(str, range(41)))),))
    assert mistakes.matrices(table_of([0], [[1.0] + [0.0] * 40], ["a"], many.joint_classes), many) == []


def test_worst_images_and_groups() -> None:
    table = table_of([0, 0, 0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.99, 0.01], [0.3, 0.7], [0.45, 0.55]],
                     ["a", "a", "b", "c", "c", "d"], ("cat", "dog"))  # fmt: skip
    assert mistakes.worst_rows(table, 10) == [3, 1, 2] and mistakes.worst_rows(table, 1) == [3]
    groups = mistakes.group_errors(table, ("cat", "dog"))
    assert [(g.group, g.wrong, g.images) for g in groups] == [("c", 1, 2), ("b", 1, 1), ("a", 1, 2), ("d", 0, 1)]
    assert groups[0].loss == pytest.approx((-np.log(0.01) - np.log(0.7)) / 2)
    assert groups[0].most == "dog → cat" and groups[0].rows == (3, 4)
    assert mistakes.concentration(groups) == (
        "Half of the 3 mistakes are in 2 of 4 groups. Groups without a mistake: 1; with every image wrong: 1."
    )


def test_a_label_is_doubted_for_a_whole_group_where_it_never_differs_in_one() -> None:
    probs = [[0.4, 0.6], [0.3, 0.7], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.8, 0.2]]
    table = table_of([0, 0, 0, 1, 1, 1], probs, ["a", "a", "a", "b", "b", "b"], ("cat", "dog"))
    assert label_doubts(table, TWO) == []  # the mean of a is 0.533 cat, that of b 0.633 dog: no doubt of either
    (doubt,) = label_doubts(table_of([1, 1, 1, 1, 1, 1], probs, ["a"] * 3 + ["b"] * 3, ("cat", "dog")), TWO)
    assert (doubt.factor, doubt.group, doubt.label, doubt.suggested, doubt.rows) == ("kind", "a", 1, 0, (0, 1, 2))
    assert doubt.p_suggested == pytest.approx((0.4 + 0.3 + 0.9) / 3)


def test_a_label_that_differs_within_groups_is_doubted_image_by_image() -> None:
    probs = [[0.4, 0.6], [0.3, 0.7], [0.9, 0.1], [0.1, 0.9]]
    found = label_doubts(table_of([0, 1, 1, 1], probs, ["a", "a", "b", "b"], ("cat", "dog")), TWO)
    assert [(d.rows, d.label, d.suggested) for d in found] == [((2,), 1, 0), ((0,), 0, 1)]


def test_what_images_are_like(tmp_path: Path) -> None:
    flat, fine = np.full((40, 80, 3), 200, np.uint8), np.zeros((300, 200, 3), np.uint8)
    fine[::2] = 255
    for name, pixels in (("flat.png", flat), ("fine.png", fine)):
        Image.fromarray(pixels).save(tmp_path / name)
    found = measure([tmp_path / n for n in ("flat.png", "fine.png", "gone.png")])
    assert found[0].tolist() == [200, -2, 40]
    assert found[1, 0] == pytest.approx(127.5) and found[1, 1] > 2 and found[1, 2] == 200
    assert np.isnan(found[2]).all()


def test_accuracy_by_bins() -> None:
    table = random_table(100)
    values = np.arange(100.0)
    values[90:] = np.nan
    bins = binned(values, table)
    assert [b.images for b in bins] == [18] * 5
    right = (table.true == table.predicted)[:90].reshape(5, 18).mean(axis=1)
    assert [b.accuracy.value for b in bins] == pytest.approx(right.tolist())
    whole = bootstrap(table.true[:18], table.predicted[:18], table.group[:18], 6)["accuracy"]
    assert bins[0].accuracy == pytest.approx(whole)
    assert bins[0].low == 0 and bins[-1].high == 89
    assert binned(np.full(100, 3.0), table) == []
    assert sum(b.images for b in binned(np.repeat([1.0, 1.0, 1.0, 2.0], 25), table)) == 100
    assert len(sample(10)) == 10 and len(set(sample(5000, 2000).tolist())) == 2000


def test_a_run_against_another() -> None:
    ours, theirs = random_table(seed=0), random_table(seed=1)
    shuffled = np.random.default_rng(3).permutation(len(theirs))[:150]
    part = table_of(theirs.true[shuffled].tolist(), theirs.probs[shuffled].tolist(),
                    theirs.group[shuffled].tolist(), theirs.classes)  # fmt: skip
    object.__setattr__(part, "sha256", theirs.sha256[shuffled])
    found = versus(ours, part, "other")
    rows = np.sort(shuffled)
    scores = [f1_score(t.true[rows], t.predicted[rows], average="macro", labels=range(6)) for t in (ours, theirs)]
    assert found.images == 150 and found.macro_f1.value == pytest.approx(scores[0] - scores[1])
    right, other = ours.predicted == ours.true, theirs.predicted == theirs.true
    assert set(found.gained) == {i for i in rows.tolist() if right[i] and not other[i]}
    assert set(found.lost) == {i for i in rows.tolist() if other[i] and not right[i]}
    assert all(found.theirs[i] == theirs.predicted[i] for i in rows.tolist())
    for changed in (found.gained, found.lost):
        sure = [float(ours.probs[i].max()) for i in changed]
        assert len(sure) > 5 and sure == sorted(sure, reverse=True)


def test_runs_that_cannot_be_compared() -> None:
    ours = random_table()
    with pytest.raises(DataError, match="other classes"):
        versus(ours, table_of([0], [[1.0, 0.0]], ["a"], ("cat", "dog")), "b")
    other = random_table()
    object.__setattr__(other, "sha256", np.asarray([f"{i + 1000:064x}" for i in range(200)]))
    with pytest.raises(DataError, match="none of these images"):
        versus(ours, other, "b")
    relabeled = random_table()
    object.__setattr__(relabeled, "true", (relabeled.true + 1) % 6)
    with pytest.raises(DataError, match=r"0\.png has another label in b"):
        versus(ours, relabeled, "b")


def test_images_of_cells_come_in_turn() -> None:
    table = random_table()
    order = cell_order(table).tolist()
    assert sorted(order) == list(range(200))
    cells = list(zip(table.true.tolist(), table.predicted.tolist(), strict=True))
    wrong = {c for c in cells if c[0] != c[1]}
    assert {cells[i] for i in order[: len(wrong)]} == wrong  # the first of each wrong cell
    for cell in wrong:
        own = [table.probs[i, cell[0]] for i in order if cells[i] == cell]
        assert own == sorted(own)


def test_an_axis_has_round_ticks_and_a_chart_knows_its_places() -> None:
    assert [t for _, t in axis(0, 1, "").ticks] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t for _, t in axis(0, 300, "", whole=True).ticks] == ["0", "50", "100", "150", "200", "250", "300"]
    assert [t for _, t in axis(0, 0.1, "").ticks] == ["0.00", "0.02", "0.04", "0.06", "0.08", "0.10"]
    assert axis(3, 3, "").low < 3 < axis(3, 3, "").high
    chart = Chart("", "", axis(0, 10, ""), axis(0, 1, ""))
    assert (chart.left(0), chart.left(10)) == (46, 408) and (chart.top(0), chart.top(1)) == (210, 12)
    assert chart.path(Line("", [(5, 0.5)], "c0")) == "227.0,111.0"


def test_reliability_leaves_out_bins_of_few_images() -> None:
    probs = np.asarray([[0.55, 0.45]] * 6 + [[0.95, 0.05]] * 5, dtype=np.float32)
    (x, y), *others = points(probs, np.asarray([0, 0, 0, 1, 1, 1] + [0] * 5))
    assert x == pytest.approx(0.55) and y == pytest.approx(0.5) and others == []


def test_settings_that_differ_from_the_preset() -> None:
    config = load_config({"train": {"steps": 77}, "optim": {"clip_norm": 1.0}, "data": {"root": "x"}}, preset="laptop")
    assert {d.key: (d.preset, d.here) for d in differences(config) or ()} == {
        "train.steps": ("300", "77"), "optim.clip_norm": ("not set", "1.0")
    }  # fmt: skip
    assert differences(config.model_copy(update={"preset": "gone"})) is None


def test_cards_become_text_of_the_page() -> None:
    card = split_card("# Run x\n\n**Good** <b>\n\n## Data\n\n| a |\n| --- |\n| [x](http://y) |\n")
    assert card.verdict == "**Good** <b>" and list(card.sections) == ["Data"]
    assert to_html(card.verdict) == "<p><strong>Good</strong> &lt;b&gt;</p>\n"
    assert "href" not in to_html(card.sections["Data"]) and "<td>[x](http://y)</td>" in to_html(card.sections["Data"])


@pytest.mark.parametrize(
    ("path", "host", "status"), [("/", "127.0.0.1", 200), ("/etc/passwd", "127.0.0.1", 404), ("/", "evil.example", 404)]
)
def test_the_page_is_served_to_this_machine_only(path: str, host: str, status: int) -> None:
    with server_of("<p>é</p>") as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.handle_request, daemon=True).start()
        asked = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        asked.request("GET", path, headers={"Host": f"{host}:{server.server_address[1]}"})
        answer = asked.getresponse()
        assert answer.status == status
        assert (answer.read() == "<p>é</p>".encode()) == (status == 200)
        asked.close()
