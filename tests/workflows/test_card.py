"""Cards for others, and a push: what a stranger gets predicts the same bytes, and tells nothing of this machine."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, fake_hub
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.utils import are_progress_bars_disabled
from tiny_runs import TINY

from ssl_mask.config import merge, resolve
from ssl_mask.errors import DataError, GuardError, InputError
from ssl_mask.guard.status import Mark
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import find_source
from ssl_mask.workflows.card import make_card, refuse_silent_card
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import train

# huggingface_hub gives httpx2 the bytes of a file in a way that httpx2 will not take one day.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
QUICK: dict[str, Any] = {"train": {"steps": 2, "eval_every": 1}, "guard": {"mode": "on"}}


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Path:  # noqa: ARG001
    """A run and a study of two folds, by absolute paths, beside the data set that they were trained on. Read only."""
    home = tmp_path_factory.mktemp("cards")
    runs, faces = home / "runs", shutil.copytree(drawn, home / "faces")
    places = {"runs": str(runs), "data": {"root": str(faces)}, "guard": {"cards": str(runs / "cards")}}
    one, study = (
        resolve([merge(merge(TINY, QUICK), places), {"name": name}], has_gpu=lambda: False) for name in ("one", "study")
    )
    train(one, quiet=True)
    train_folds(study, folds=2, quiet=True)
    return runs


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change; the working folder is beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # its store is no HTTP server
        yield server


def predicted(run: Path, drawn: Path, out: Path) -> bytes:
    done = predict([run], images=drawn / "eval/images", out=out, quiet=True)
    assert done.path is not None
    return done.path.read_bytes()


@pytest.mark.parametrize("name", ["one", "study"])
def test_zip_move_and_predict_gives_the_same_bytes(
    name: str, trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = predicted(trained / name, drawn, tmp_path / "before")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", trained, name)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "else where")
    hidden = trained.parent.rename(trained.parent.with_name("hidden"))
    try:  # runs and data set are gone from where they were
        assert predicted(tmp_path / "else where" / name, drawn, tmp_path / "after") == before
        with pytest.raises(DataError, match="faces"):
            predict([tmp_path / "else where" / name], quiet=True)  # its own test images
    finally:
        hidden.rename(trained.parent)


@pytest.mark.parametrize("name", ["one", "study"])
def test_what_is_pushed_predicts_the_same_bytes_and_names_no_place(
    name: str, trained: Path, runs: Path, drawn: Path, hub: FakeHub, tmp_path: Path
) -> None:
    made = make_card(runs / name, license_id="mit", push="me/masks", quiet=True)
    assert made.url == f"{hub.url}/me/masks" and hub.repositories["me/masks"]["private"] is True
    files = hub.files("me/masks")
    members = [""] if name == "one" else ["fold-0/", "fold-1/"]
    own = ["run.json", "config.yaml", "checkpoints/best.safetensors", "checkpoints/seen-train.npz"]
    assert {"README.md", "schema.json"} | {m + f for m in members for f in [*own, "checkpoints/seen-val.npz"]} <= set(
        files
    )
    assert {Path(f).suffix for f in files} == {".md", ".json", ".yaml", ".safetensors", ".npz"}
    for place in map(str, (runs, trained.parent, tmp_path, drawn)):
        assert [f for f, content in files.items() if place.encode() in content] == []
    got = hub.download("me/masks", tmp_path / "got")
    assert predicted(got, drawn, tmp_path / "a") == predicted(runs / name, drawn, tmp_path / "b")
    said = [json.loads((tmp_path / f / "predictions.provenance.json").read_text())["leakage"] for f in "ab"]
    assert said[0]["verdict"] == said[1]["verdict"] == "photos-clean"
    assert "hf download me/masks" in files["README.md"].decode() and files["README.md"] == made.path.read_bytes()


def test_a_photo_that_was_trained_on_is_known_to_who_downloads(
    runs: Path, drawn: Path, hub: FakeHub, tmp_path: Path
) -> None:
    make_card(runs / "one", push="me/masks", quiet=True)
    got = hub.download("me/masks", tmp_path / "got")
    done = predict([got], images=str(drawn / "train/images/*/normal.*"), out=tmp_path / "out", quiet=True)
    assert done.leakage is not None and done.leakage.status == "leaked-declared"


def test_the_card_has_the_scores_of_the_run_and_of_its_evaluation(runs: Path, drawn: Path) -> None:
    run = RunDir(runs / "one")
    predict([run.path], quiet=True)
    scored = evaluate(drawn / "eval_answers.csv", run=run.path)
    card = ModelCard(make_card(run.path, license_id="apache-2.0", quiet=True).path.read_text())
    results = {(r.dataset_split, r.metric_type): r for r in card.data.eval_results or ()}
    assert results["validation", "f1"].metric_value == round(run.scores().macro_f1, 4)
    assert results["validation", "accuracy"].metric_value == round(run.scores().accuracy, 4)
    assert results["test", "f1"].metric_value == round(scored.macro_f1.value, 4)
    assert "leakage: photos-clean" in str(results["test", "f1"].metric_name)
    best = run.best.read_bytes()
    other = runs / "study/fold-0/checkpoints/best.safetensors"
    shutil.copy(other, run.best)  # the predictions are not of these weights
    assert ("test", "f1") not in {
        (r.dataset_split, r.metric_type)
        for r in ModelCard(make_card(run.path, quiet=True).path.read_text()).data.eval_results or ()
    }
    run.best.write_bytes(best)


def test_a_study_has_its_out_of_fold_score(runs: Path) -> None:
    card = ModelCard(make_card(runs / "study", quiet=True).path.read_text())
    record = json.loads((runs / "study/oof.json").read_text())
    (f1,) = [r for r in card.data.eval_results or () if r.metric_type == "f1"]
    assert f1.dataset_split == "out-of-fold" and f1.metric_value == round(record["macro_f1"]["value"], 4)
    low, high = record["macro_f1"]["low"], record["macro_f1"]["high"]
    assert f"95 % interval {low:.3f} to {high:.3f} by group" in str(f1.metric_name)


def test_an_edited_card_is_kept_and_pushed(runs: Path, hub: FakeHub) -> None:
    card = make_card(runs / "one", quiet=True).path
    again = make_card(runs / "one", license_id="mit", quiet=True)
    assert not again.kept and "license: mit" in card.read_text()
    card.write_text(card.read_text() + "\nTrained for the entrance of our house.\n")
    made = make_card(runs / "one", push="me/masks", quiet=True)
    assert made.kept and b"entrance of our house" in hub.files("me/masks")["README.md"]


def test_a_place_in_an_edited_card_is_refused(runs: Path, hub: FakeHub) -> None:
    card = make_card(runs / "one", quiet=True).path
    card.write_text(card.read_text() + f"\nSee {Path.cwd()}/notes\n")
    with pytest.raises(DataError, match=r"README\.md would hand on .*a place of this machine"):
        make_card(runs / "one", push="me/masks", quiet=True)
    assert "me/masks" not in hub.repositories


@pytest.mark.parametrize("status", ["leaked-declared", "transductive-test", "transductive-val"])
def test_a_leaked_run_is_pushed_only_with_a_card_that_says_so(status: str, runs: Path, hub: FakeHub) -> None:
    from ssl_mask.runs.checkpoint import load_checkpoint, write_checkpoint

    run = RunDir(runs / "one")
    kept = load_checkpoint(run.best)
    leaked = kept.metadata.model_copy(update={"leakage": status, "leakage_reason": "of a test"})
    write_checkpoint(run.best, type(kept)(kept.weights, leaked))
    card = make_card(run.path, quiet=True).path
    assert f"**Leakage: {status}**" in card.read_text()
    make_card(run.path, push="me/told", quiet=True)
    for word in (f"Leakage: {status}", f"leakage:{status}"):
        text = make_card(run.path, quiet=True).path.read_text()
        card.write_text(text.replace(word, "clean"))
        with pytest.raises(GuardError, match=f"does not say that the status of this model is {status}"):
            make_card(run.path, push="me/silent", quiet=True)
        card.unlink()
    assert set(hub.repositories) == {"me/told"}


def test_a_card_without_metadata_is_refused() -> None:
    for text, problem in [
        ("# A model\n", "does not begin with front matter"),
        ("---\n- a\n---\n", "not a mapping"),
        ("---\na: [\n---\n", "not YAML"),
        ("---\npipeline_tag: text-generation\n---\n", "pipeline_tag"),
    ]:
        with pytest.raises(DataError, match=problem):
            refuse_silent_card(text, "model_card.md", Mark("clean", ""))


def test_a_public_repository_is_refused_where_a_private_one_is_asked_for(runs: Path, hub: FakeHub) -> None:
    hub.make("me/masks", private=False)
    with pytest.raises(InputError, match="there and public"):
        make_card(runs / "one", push="me/masks", quiet=True)
    assert not hub.files("me/masks")
    make_card(runs / "one", push="me/masks", private=False, quiet=True)
    assert "README.md" in hub.files("me/masks")
    make_card(runs / "one", push="me/open", private=False, quiet=True)
    assert hub.repositories["me/open"]["private"] is False


def test_a_hub_that_refuses_or_is_not_there_is_one_sentence(
    runs: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refuse = 403
    with pytest.raises(InputError, match=r"\(403\)") as refused:
        make_card(runs / "one", push="me/masks", quiet=True)
    assert "HF_TOKEN" in refused.value.hint
    hub.refuse = 401
    with pytest.raises(InputError, match=r"refuses to write me/masks \(401\)") as refused:
        make_card(runs / "one", push="me/masks", quiet=True)
    assert "hf auth login" in refused.value.hint
    hub.refuse, hub.refuse_objects = 0, True
    with pytest.raises(InputError, match=r"was not pushed: Error while uploading .* other bytes"):
        make_card(runs / "one", push="me/masks", quiet=True)
    assert not hub.files("me/masks")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="me/masks was not pushed"):
        make_card(runs / "one", push="me/masks", quiet=True)


def test_without_the_library_the_extra_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_mask.reports.hub_push.find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(InputError) as refused:
        make_card(runs / "one", push="me/masks", quiet=True)
    assert 'pip install "sslmask[hub]"' in refused.value.hint and not (runs / "one/model_card.md").exists()


def test_photos_are_never_pushed(drawn: Path, runs: Path, hub: FakeHub) -> None:  # noqa: ARG001
    with pytest.raises(InputError, match="photos are never pushed"):
        make_card(drawn, push="me/faces", quiet=True)
    assert not hub.repositories


def test_what_cannot_be_handed_on_gets_no_card(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery predicts by vectors of its photos."""
    found = find_source(runs / "one", runs)
    monkeypatch.setattr(
        "ssl_mask.workflows.card.find_source", lambda *_: replace(found, kind="gallery", parts=(found,))
    )
    with pytest.raises(InputError, match="is a gallery"):
        make_card(runs / "one", quiet=True)
    assert not (runs / "one" / "model_card.md").exists()


def test_bars_of_the_library_are_hidden_with_quiet_and_back_afterwards(
    runs: Path,
    hub: FakeHub,  # noqa: ARG001 - it takes the place of the real one
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []
    whole = HfApi.create_commit

    def commit(*words: Any, **more: Any) -> Any:
        seen.append(are_progress_bars_disabled())
        return whole(*words, **more)

    monkeypatch.setattr(HfApi, "create_commit", commit)
    before = are_progress_bars_disabled()
    make_card(runs / "one", push="me/masks", quiet=True)
    make_card(runs / "one", push="me/masks")
    assert seen == [True, before] and are_progress_bars_disabled() == before
