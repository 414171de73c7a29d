"""Cards for the Hugging Face Hub, read back by its own library and held against its documented schema; Croissant."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.guard.findings import content_digest
from ssl_mask.guard.status import Mark
from ssl_mask.reports import samples
from ssl_mask.reports.croissant import croissant
from ssl_mask.reports.dataset_card import dataset_card
from ssl_mask.reports.described import Described, DescribedImage, described_pool
from ssl_mask.reports.hub_card import is_ours, marked, refuse_unknown_license, write_unless_edited
from ssl_mask.reports.model_card import model_card
from ssl_mask.runs.records import LeakageStatus

MODEL_KEYS = {"license", "library_name", "pipeline_tag", "tags", "metrics", "model-index"}
"""Of modelcard.md in huggingface/hub-docs, those that are used; `pipeline_tag` is in its docs/hub/model-cards.md."""
DATASET_KEYS = {"license", "pretty_name", "task_categories", "size_categories", "tags"}


def test_the_hubs_library_reads_the_model_card_and_writes_the_same_index() -> None:
    card = ModelCard(model_card(samples.model_facts(), "cc-by-nc-4.0"), ignore_metadata_errors=False)
    data = card.data.to_dict()
    assert set(data) == MODEL_KEYS
    assert (data["license"], data["library_name"]) == ("cc-by-nc-4.0", "sslmask")
    assert data["pipeline_tag"] == "image-classification" and "leakage:photos-clean" in data["tags"]
    name, results = model_index_to_eval_results(data["model-index"])
    assert [(r.metric_type, r.metric_value) for r in results] == [("f1", 0.4137), ("accuracy", 0.6717)]
    assert "95 % interval 0.371 to 0.462 by group; leakage: photos-clean" in str(results[0].metric_name)
    assert results[0].metric_args == {"average": "macro"} and results[0].dataset_split == "validation"
    assert eval_results_to_model_index(name, results) == data["model-index"]
    for class_name in ("red", "green", "broken", "red/small/new"):
        assert f"`{class_name}`" in card.text


def test_what_is_not_known_is_no_key_of_the_front_matter() -> None:
    """A key with the value `null` is one for the Hub; its library does not tell them apart."""
    for card in (model_card(samples.model_facts()), dataset_card(samples.described())):
        assert "null" not in card.split("---")[1] and "license:" not in card.split("---")[1]


def test_splits_count_labels_groups_and_files() -> None:
    images = (
        DescribedImage("a.jpg", "1", "train", "p", (0,)), DescribedImage("b.jpg", "1", "train", "q", None),
        DescribedImage("c.jpg", "", "train", "r", (1,)), DescribedImage("d.jpg", "2", "test", "q", (1,)),
        DescribedImage("e.jpg", "3", "test", "", None),
    )  # fmt: skip
    card = dataset_card(Described("d", images, LabelSchema((Factor("kind", ("x", "y")),)), True))
    assert "| train | 3 | 2 | 3 | 1 | 1 |" in card  # images, with labels, groups, of these in other splits, files
    assert "| test | 2 | 1 | 1 | 1 | 2 |" in card
    assert "| `y` | 1 | 1 |" in card and "| `x` | 1 | 0 |" in card
    assert "name no groups" in dataset_card(Described("d", images, None, False))


@pytest.mark.parametrize(("images", "said"), [(999, "n<1K"), (1000, "1K<n<10K")])
def test_the_size_of_a_data_set_is_the_hubs_word(images: int, said: str) -> None:
    assert DatasetCard(dataset_card(samples.described(images))).data.to_dict()["size_categories"] == [said]


def test_of_many_classes_the_first_fifty_are_listed() -> None:
    schema = LabelSchema((Factor("kind", tuple(f"kind {i}" for i in range(60))),))
    images = tuple(DescribedImage(f"{i}.jpg", str(i), "train", "", (i,)) for i in range(60))
    card = dataset_card(Described("d", images, schema, True))
    assert "`kind 49`" in card and "`kind 50`" not in card and "The first 50 of 60 classes." in card


def test_a_split_is_a_reference_and_an_odd_name_is_shown() -> None:
    data = croissant(replace(samples.described(), name="my\nphotos"))
    assert data["alternateName"] == "my\ufffdphotos" and data["name"] == "my-photos"
    fields = {field["name"]: field for field in data["recordSet"][-1]["field"]}
    assert fields["split"]["references"] == {"field": {"@id": "splits/name"}}
    assert not any("references" in fields[name] for name in ("path", "sha256", "group"))


def test_a_license_is_named_only_if_it_was_asked_for_and_known() -> None:
    assert "license" not in ModelCard(model_card(samples.model_facts())).data.to_dict()
    assert "license" not in DatasetCard(dataset_card(samples.described())).data.to_dict()
    refuse_unknown_license("apache-2.0")
    with pytest.raises(ConfigError, match="knows no such license") as refused:
        refuse_unknown_license("apache2.0")
    assert "'apache-2.0'" in refused.value.hint


@pytest.mark.parametrize("status", ["clean", "not-checked", "transductive-test", "leaked-declared"])
def test_the_status_is_in_the_words_the_tags_and_every_score(status: LeakageStatus) -> None:
    mark = Mark(status, "found in /home/me/photos/a.jpg")
    facts = samples.model_facts(mark=mark, scores=(replace(samples.model_facts().scores[0], mark=mark),))
    card = ModelCard(model_card(facts))
    assert f"**Leakage: {status}** (found in a.jpg)" in card.text and "/home" not in card.content
    assert f"leakage:{status}" in (card.data.tags or ())
    assert all(f"leakage: {status}" in str(r.metric_name) for r in card.data.eval_results or ())


def test_a_model_without_a_score_says_so() -> None:
    card = ModelCard(model_card(samples.model_facts(scores=())))
    assert card.data.eval_results is None and "**No score**" in card.text


def test_what_was_seen_is_promised_only_where_it_is_kept() -> None:
    kept, lost = (model_card(samples.model_facts(knows_seen=known)) for known in (True, False))
    assert "`predict` says which of your photos are among them" in kept and "Nobody recorded" not in kept
    assert "seen-*.npz" not in lost and "Nobody recorded what it has seen in training" in lost


def test_scores_without_groups_say_that_their_interval_is_too_narrow() -> None:
    own = replace(samples.model_facts().scores[0], grouped=False, groups=None)
    card = ModelCard(model_card(samples.model_facts(scores=(own,))))
    assert "Intervals are too narrow" in card.text and "by image" in str((card.data.eval_results or [])[0].metric_name)
    assert "too narrow" not in model_card(samples.model_facts())


def test_names_of_strangers_stay_text() -> None:
    odd = LabelSchema((Factor("a|b", ("<script>", "```", "x: y\n---\n")),))
    facts = samples.model_facts(name="evil\n---\nlicense: mit", schema=odd)
    card = ModelCard(model_card(facts))
    assert "license" not in card.data.to_dict() and card.data.to_dict()["pipeline_tag"] == "image-classification"
    assert "a\\|b" in card.text and "\n---\nlicense" not in card.content


def test_the_hubs_library_reads_the_dataset_card() -> None:
    data = DatasetCard(dataset_card(samples.described(), "mit"), ignore_metadata_errors=False).data.to_dict()
    assert set(data) == DATASET_KEYS and data["size_categories"] == ["n<1K"] and data["license"] == "mit"
    text = dataset_card(samples.described())
    assert "| train | 8 | 8 | 3 |" in text and "| test | 4 | 0 |" in text and "3 groups (persons)" in text
    assert content_digest(f"{i:064x}" for i in range(12)) in text


def test_a_person_in_two_splits_is_counted() -> None:
    data = samples.described()
    moved = data.images[0]._replace(split="val")
    rows = dataset_card(replace(data, images=(moved, *data.images[1:]))).splitlines()
    assert [row for row in rows if row.startswith("| val |")] == ["| val | 1 | 1 | 1 | 1 | 1 |"]


def test_an_edited_card_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    assert write_unless_edited(path, "one\n") and is_ours(path.read_text())
    assert write_unless_edited(path, "two\n") and path.read_text() == marked("two\n")
    path.write_text(path.read_text().replace("two", "mine"))
    assert not write_unless_edited(path, "three\n") and "mine" in path.read_text()
    path.write_text("# Another's\n")
    assert not write_unless_edited(path, "three\n")


def walk(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from walk(part)


def test_croissant_is_bound_to_its_table_and_refers_to_what_is_there() -> None:
    data = samples.described()
    content = croissant(data, "cc-by-4.0")
    table = data.table().encode()
    (file,) = content["distribution"]
    assert file["sha256"] == hashlib.sha256(table).hexdigest() and file["contentSize"] == f"{len(table)} B"
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [r["path"] for r in rows] == [i.path for i in data.images] and rows[0]["colour"] == "red"
    assert rows[-1]["colour"] == "" and rows[-1]["group"] == ""
    nodes = list(walk({k: v for k, v in content.items() if k != "@context"}))
    made = [n["@id"] for n in nodes if "@type" in n and "@id" in n]
    assert len(made) == len(set(made))
    assert {n["@id"] for n in nodes if set(n) == {"@id"}} <= set(made)
    assert {n["extract"]["column"] for n in nodes if "extract" in n} == set(rows[0])


def test_columns_that_meet_are_told_apart() -> None:
    schema = LabelSchema((Factor("split", ("a, b", "c")),))
    image = DescribedImage("x.jpg", "0" * 64, "train", "", (0,))
    data = replace(samples.described(), schema=schema, images=(image,))
    (row,) = csv.DictReader(io.StringIO(data.table()))
    assert (row["split"], row["label_split"]) == ("train", "a, b")


def pool(root: str, folder: str, *paths: str) -> dict[str, Any]:
    files = [{"path": path, "sha256": "1" * 64} for path in paths]
    groups = {"complete": False}
    return {
        "predicate": {"name": "p", "role": "train", "root": root, "folder": folder, "files": files, "groups": groups}
    }


def test_a_pool_is_described_below_its_own_folder(tmp_path: Path) -> None:
    found = described_pool(pool("../data", "train/images", "train/images/a/1.jpg"), tmp_path / "cards")
    assert [i.path for i in found.images] == ["a/1.jpg"] and found.schema is None


def test_a_pool_on_two_disks_is_refused_for_its_paths_would_tell_where(tmp_path: Path) -> None:
    root = "../" * (len(tmp_path.parts) + 3)
    with pytest.raises(DataError, match="have only / in common"):
        described_pool(pool(root, "", "home/me/1.jpg", "mnt/2.jpg"), tmp_path / "cards")
    with pytest.raises(DataError, match="not inside of the folder"):
        described_pool(pool("../data", "", "../../me/1.jpg"), tmp_path / "cards")


@pytest.mark.slow
def test_mlcroissant_validates_and_reads_the_table(tmp_path: Path) -> None:
    """In an environment of its own: it brings packages that nothing here needs. Needs the package index."""
    data = samples.described()
    (tmp_path / "images.csv").write_text(data.table())
    (tmp_path / "croissant.json").write_text(json.dumps(croissant(data, "cc-by-4.0")))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "mlcroissant>=1.0"], check=True)
    code = (
        "import json, mlcroissant\ndata = mlcroissant.Dataset('croissant.json')\n"
        "issues = data.metadata.ctx.issues\nassert not issues.errors, issues.report()\n"
        "print(json.dumps([{k: v and v.decode() for k, v in r.items()} for r in data.records('images')]))"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["images/path"] for row in rows] == [image.path for image in data.images]
    assert [row["images/label-0"] for row in rows[:3]] == ["red", "green", "blue"]
