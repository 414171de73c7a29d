"""Tables of rounds: all of them are readable in a terminal of 80 columns, and the run card says the same."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ssl_mask.reports import samples, study_samples
from ssl_mask.reports.round_table import class_table, label_cells, round_markdown, round_tables, score_cells


def printed(*tables: object) -> str:
    out = io.StringIO()
    for table in tables:
        Console(file=out, width=80, highlight=False).print(table)
    return out.getvalue()


@pytest.mark.parametrize("audited", [False, True])
@pytest.mark.parametrize("heads", [{"mask": 0.999, "gender": 0.805, "age": 0.488}, {"joint": 0.987}])
def test_no_cell_is_cut_or_broken_at_80_columns(heads: dict[str, float], audited: bool) -> None:
    rows = study_samples.rounds(2, heads, audited=audited)
    text = printed(*round_tables(rows))
    assert "…" not in text
    for cells in (score_cells(rows), label_cells(rows)):
        for row in cells.rows:
            assert any(all(cell in line for cell in row) for line in text.splitlines()), row
        for name in cells.header:
            assert all(word in text for word in name.split()), name
    assert ("0.735" in text) == audited
    assert "for 22600 images" in text


def test_the_cells_are_those_of_the_rounds() -> None:
    rows = study_samples.rounds(2, {"a": 0.9, "b": 0.8})
    assert score_cells(rows).rows[0] == ("0", "labels only", "0.4140", "0.374-0.464", "0.6700", "0.640-0.700", "12345")
    header, (first, a, _, second, *_) = label_cells(rows)
    assert header[:3] == ("round", "labels", "selected")
    assert first == ("1", "any", "22200", "", "0.735", "0.654", "", "")
    assert a == ("", "a", "20000", "0.900", "0.850", "0.400", "", "")
    assert second[-2:] == ("0.970", "1220")


def test_one_head_is_one_row() -> None:
    rows = label_cells(study_samples.rounds(1, {"joint": 0.987})).rows
    assert rows == (("1", "joint", "22200", "0.987", "0.735", "0.654"),)


def test_the_run_card_has_every_cell_of_the_terminal() -> None:
    rows = study_samples.rounds(3)
    card = round_markdown(rows)
    for row in (*score_cells(rows).rows, *label_cells(rows).rows):
        assert f"| {' | '.join(row)} |" in card


def test_of_rounds_by_folds_and_of_early_ends_the_card_says_so() -> None:
    card = round_markdown(study_samples.rounds(2), "Out-of-fold", "Round 3 selects none of 9 images: a|b.")
    assert card.startswith("**Stopped early**: Round 3 selects none of 9 images: a\\|b.\n\n| round |")
    assert "(val: out-of-fold images, audit" in card and "alidation" not in card
    assert "Stopped" not in round_markdown(study_samples.rounds(2))


def test_a_first_round_alone_has_no_pseudo_labels() -> None:
    assert len(round_tables(study_samples.rounds(0))) == 1
    assert "Pseudo-labels" not in round_markdown(study_samples.rounds(0))


def test_a_start_with_everything_still_fits() -> None:
    first, *later = study_samples.rounds(1)
    taught = "labels and unlabeled images and pseudo-labels"
    text = printed(*round_tables([first.model_copy(update={"taught_by": taught}), *later]))
    assert "…" not in text
    assert all(word in text for word in taught.split())
    assert "0.374-0.464" in text


def test_classes_of_a_selection() -> None:
    text = printed(class_table(study_samples.selection()))
    assert "…" not in text
    (line,) = [line for line in text.splitlines() if "broken" in line]
    assert line.split()[:2] == ["condition", "broken"] and line.split()[-3:] == ["0", "none", "0"]


def test_of_many_classes_those_predicted_most_are_shown() -> None:
    record = study_samples.selection({"species": samples.one_factor(100).joint_classes})
    counts = {name: row.predicted for name, row in record.heads["species"].classes.items()}
    text = printed(class_table(record))
    shown = {name for name in counts if f"{name} " in text}
    assert len(shown) == 30
    assert min(counts[n] for n in shown) >= max(counts[n] for n in counts.keys() - shown)
    assert "selection.json" in text
