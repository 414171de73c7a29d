"""Unknown images and sets of classes as a user meets them: files, provenance, words, studies, and what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY

from ssl_mask.config import merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.embeddings import read_embeddings, write_embeddings
from ssl_mask.data.images import decode, fit
from ssl_mask.data.predictions import read_predictions, read_validation
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import DataError, InputError
from ssl_mask.evaluation import unknown as scores
from ssl_mask.inference import unknown_marks
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import load_run_predictor
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.gallery import GalleryDir
from ssl_mask.runs.predicted import read_predicted
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study
from ssl_mask.workflows import gallery as galleries
from ssl_mask.workflows.embed import embed
from ssl_mask.workflows.evaluate import evaluate
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.predict import Predictions, predict


@pytest.fixture(scope="module")
def runs(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Path:  # noqa: ARG001
    """A folder with a study of two folds, `study`, of 84 images of 12 persons. Read only."""
    folder = tmp_path_factory.mktemp("unknown") / "runs"
    own = {"runs": str(folder), "name": "study", "data": {"root": str(drawn)}, "train": {"steps": 2, "eval_every": 1}}
    train_folds(resolve([merge(TINY, own)], has_gpu=lambda: False), folds=2, quiet=True)
    return folder


FOLD = "study/fold-0"
CPU = Compute(make_accelerator("fp32"), Console(quiet=True))


def rows_of(path: Path | None, name: str) -> list[dict[str, str]]:
    assert path is not None
    with path.with_name(name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_marks_and_sets_leave_the_submission_as_it_is(
    runs: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = predict(["study"], runs_folder=runs, tta=True, quiet=True)
    done = predict(["study"], runs_folder=runs, tta=True, unknown=0.2, sets=0.8)
    assert alone.path is not None and done.path is not None and done.unknown is not None and done.sets is not None
    assert done.path.read_bytes() == alone.path.read_bytes() and done.probs.tobytes() == alone.probs.tobytes()
    assert done.path.parent.name == "test-tta-unknown-sets" and not alone.path.with_name("sets.csv").exists()
    said = capsys.readouterr().out
    for factor in ("mask, gender, age", "mask", "gender", "age"):
        assert f"Unknown of study, {factor}: by " in said
    assert "Sets of study, age: " in said and "0.8 was asked for" in said

    marked, held = rows_of(done.path, "unknown.csv"), rows_of(done.path, "sets.csv")
    assert [r["ImageID"] for r in marked] == [r.id for r in done.manifest.rows] == [r["ImageID"] for r in held]
    schema = done.manifest.schema
    assert list(marked[0]) == [
        "ImageID", *(f"{c}{f}" for c in ("unknown", "known") for f in ("", "/mask", "/gender", "/age")),
    ]  # fmt: skip
    answers = schema.class_names(schema.part(done.probs.argmax(axis=1)))
    for i, (mark, sets, answer) in enumerate(zip(marked, held, answers, strict=True)):
        for factor in ("", "/mask", "/gender", "/age"):
            assert float(mark[f"known{factor}"]) == pytest.approx(done.unknown.p[f"unknown{factor}"][i])
            assert mark[f"unknown{factor}"] == str(int(float(mark[f"known{factor}"]) <= 0.2))
        assert all(a in sets[f"set/{f.name}"].split(" | ") for a, f in zip(answer, schema.factors, strict=True))
    table = read_predictions(done.path.with_name("probabilities.parquet"), schema, more=["unknown", "set/mask"])
    assert table.more["unknown/age"].tolist() == [int(r["unknown/age"]) for r in marked]

    claim = read_predicted(done.path)
    assert claim is not None and claim.unknown is not None and claim.sets is not None
    assert claim.unknown.rate == 0.2 and claim.unknown.marked["unknown"] == sum(int(r["unknown"]) for r in marked)
    (source,) = claim.sources
    assert source.unknown is not None and source.sets is not None and source.sets["age"].images == 84
    assert source.unknown["unknown"].groups == 12
    assert all(own.score == max(own.auroc, key=own.auroc.__getitem__) for own in source.unknown.values())
    assert evaluate(drawn / "eval_answers.csv", done.path, run=runs / "study").images == len(marked)


def test_each_fold_judges_by_its_own_images(runs: Path) -> None:
    """Sets, and marks by maximum probability, against a slow loop over the tables of the folds."""
    study = FoldStudy(Study(runs / "study"))
    each = [predict([run.path], runs_folder=runs, write=False, quiet=True) for run in study.members()]
    done = predict(["study"], runs_folder=runs, sets=0.8, write=False, quiet=True)
    schema = done.manifest.schema
    assert done.sets is not None
    judged = [read_validation(run.validation) for run in study.members()]
    for i in range(0, len(done.manifest), 25):
        for column, factor in enumerate(schema.factors):
            for c, held in enumerate(done.sets.held[factor.name][i].tolist()):
                stranger = 0.0
                for member, table in zip(each, judged, strict=True):
                    new = schema.marginals(member.probs[i : i + 1])[factor.name][0, c]
                    own = schema.marginals(table.probs)[factor.name]
                    true = schema.part(table.true)[:, column]
                    for group in set(table.group.tolist()):
                        images = np.flatnonzero(table.group == group)
                        stranger += sum(own[k, true[k]] <= new for k in images) / len(images)
                p = (1 + stranger) / 13
                predicted = schema.part(done.probs[i : i + 1].argmax(axis=1))[0, column] == c
                assert held == (p > 0.2 or predicted), (i, factor.name, c, p)


GIVEN = {"": scores.ENERGY, "mask": scores.neighbour(5), "gender": scores.PROBABILITY, "age": scores.PROBABILITY}
"""So that one prediction shows all three scores."""


def test_marks_are_those_of_a_slow_loop(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fold: images one by one through the network, and all cosines."""
    left, seen = list(GIVEN.values()), []

    def choice(own: list[scores.Strangeness], rate: float) -> scores.ScoreChoice:
        seen.append(own[0])
        with monkeypatch.context() as patch:
            name = left.pop(0)
            patch.setattr(scores, "mean_auroc", lambda _, told: float(told == name))
            return scores.choose_score(own, rate)

    monkeypatch.setattr(unknown_marks, "choose_score", choice)
    done = predict([FOLD], runs_folder=runs, unknown=0.2, write=False, quiet=True)
    assert done.unknown is not None
    run, schema, root = RunDir(runs / FOLD), done.manifest.schema, done.manifest.root
    table, network = read_validation(run.validation), load_run_predictor(run, CPU)
    vectors = read_embeddings(embed(FOLD, runs_folder=runs, quiet=True))
    validated = set(table.sha256.tolist())
    trained = [i for i, digest in enumerate(vectors.sha256.tolist()) if digest not in validated]

    def strangeness(path: Path, without: str = "") -> dict[str, float]:
        with torch.inference_mode():
            image = torch.from_numpy(fit(decode(path), 32))[None]
            logits, vector = network.model(image), network.model.embed(image)[0].numpy()
        heads = [(z / network.source.metadata.temperatures[k])[0].double() for k, z in logits.items()]
        nearest: dict[str, float] = {}
        for row in trained:
            if vectors.labels["mask"][row] != without:
                cosine = float(vectors.vectors[row] @ vector / np.linalg.norm(vector))
                nearest[str(vectors.group[row])] = max(nearest.get(str(vectors.group[row]), -1.0), cosine)
        energy = -sum(float(z.exp().sum().log()) for z in heads)
        rest = {f: 1 - float(z.softmax(0).max()) for f, z in zip(schema.sizes, heads, strict=True)}
        return rest | {"": energy, "mask": 1 - sorted(nearest.values(), reverse=True)[4]}

    known = [strangeness(root / path) for path in table.path.tolist()]
    for i in range(0, len(done.manifest), 30):
        new = strangeness(root / done.manifest.rows[i].path)
        for target in GIVEN:
            more = [own[target] >= new[target] for own in known]
            close = [abs(own[target] - new[target]) < 1e-5 for own in known]
            groups = [np.flatnonzero(table.group == g) for g in set(table.group.tolist())]
            p = (1 + sum(np.mean([more[k] for k in rows]) for rows in groups)) / 7
            found = done.unknown.p[f"unknown/{target}" if target else "unknown"][i]
            assert found == pytest.approx(p, abs=1e-9 + sum(close) / 7), target
    # A class that is left out is in no training image that is nearest.
    of_mask = seen[1]
    assert of_mask.group.tolist() == table.group.tolist()
    for c in of_mask.without:
        for k in range(0, len(table), 15):
            slow = strangeness(root / table.path[k], schema.factors[0].classes[c])["mask"]
            assert of_mask.without[c][scores.neighbour(5)][k] == pytest.approx(slow, abs=1e-5)


def test_unreadable_images_are_neither_known_nor_unknown(runs: Path, drawn: Path, tmp_path: Path) -> None:
    for i, image in enumerate(sorted((drawn / "eval/images").iterdir())[:3]):
        shutil.copy(image, tmp_path / f"{i}.jpg")
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    options: dict[str, Any] = {
        "images": tmp_path,
        "guard": "off",
        "out": tmp_path / "out",
        "runs_folder": runs,
        "quiet": True,
    }
    done = predict([FOLD], on_bad="fallback", unknown=0.2, sets=0.8, **options)
    assert done.unknown is not None and done.sets is not None
    for name in ("unknown.csv", "sets.csv"):
        cells = [list(row.values())[1:] for row in rows_of(done.path, name)]
        assert set(cells[1]) == {""} and all(all(row) for row in (cells[0], cells[2]))
    assert done.sets.held["mask"].sum(axis=1).tolist()[1] == 0 and np.isnan(done.unknown.p["unknown"][1])
    assert not done.unknown.marked["unknown"][1]
    again = predict([FOLD], on_bad="skip", **options)
    assert again.path is not None and not again.path.with_name("unknown.csv").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/sets.csv").write_text("of somebody")
    with pytest.raises(DataError, match=r"sets.csv is there and was not made by"):
        predict([FOLD], **{**options, "out": tmp_path / "mine"})


@pytest.fixture(scope="module")
def gallery(runs: Path) -> GalleryDir:
    """Of the study: each network was trained on one half of its 84 images."""
    return GalleryDir(galleries.build_gallery("study", runs_folder=runs, name="g", k=3, quiet=True).path)


def test_a_gallery_marks_by_the_distance_alone(
    runs: Path, gallery: GalleryDir, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against all cosines: each image of it by the network that was not trained on it and without its own person."""
    left, seen = [scores.neighbour(k) for k in (5, 1, 20, 5)], []

    def choice(own: list[scores.Strangeness], rate: float) -> scores.ScoreChoice:
        seen.append(own)
        with monkeypatch.context() as patch:
            name = left.pop(0)
            patch.setattr(scores, "mean_auroc", lambda _, told: float(told == name))
            return scores.choose_score(own, rate)

    monkeypatch.setattr(unknown_marks, "choose_score", choice)
    done = predict(["g"], runs_folder=runs, unknown=0.2, write=False, quiet=True)
    assert done.unknown is not None and list(done.unknown.records[0]) == [
        "unknown", *(f"unknown/{f}" for f in done.manifest.schema.sizes)
    ]  # fmt: skip
    asked = read_embeddings(embed("study", runs_folder=runs, images=drawn / "eval/images", out=tmp_path / "e.parquet"))
    place = {digest: i for i, digest in enumerate(asked.sha256.tolist())}
    table = read_embeddings(gallery.rows(gallery.record()))
    of_network = [slice(0, 16), slice(16, 32)]

    def far(vector: Any, network: int, group: str = "", without: str = "") -> list[float]:
        """1 − cosine to the nearest image of each group as a network sees them, the nearest first."""
        nearest: dict[str, float] = {}
        for row in range(len(table)):
            if table.group[row] != group and table.labels["mask"][row] != without:
                a, b = vector[of_network[network]], table.vectors[row, of_network[network]]
                cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
                nearest[str(table.group[row])] = max(nearest.get(str(table.group[row]), -1.0), cosine)
        return sorted(1 - cosine for cosine in nearest.values())

    unseen = [bits.bit_length() - 1 for bits in table.more["unseen_by"].tolist()]
    assert sorted(set(unseen)) == [0, 1] and unseen.count(0) == 42
    known = [far(table.vectors[i], unseen[i], str(table.group[i])) for i in range(len(table))]
    assert {len(own) for own in known} == {11}
    for i in range(0, len(done.manifest), 40):
        vector = asked.vectors[place[done.manifest.rows[i].digest]]
        new = [far(vector, network) for network in (0, 1)]
        for column, k in (("unknown", 5), ("unknown/mask", 1), ("unknown/gender", 11)):  # of 20 there are 11
            p, close = 1.0, 0
            for group in set(table.group.tolist()):
                rows = np.flatnonzero(table.group == group)
                ours, theirs = [known[r][k - 1] for r in rows], [new[unseen[r]][k - 1] for r in rows]
                p += np.mean([a >= b for a, b in zip(ours, theirs, strict=True)])
                close += sum(abs(a - b) < 1e-5 for a, b in zip(ours, theirs, strict=True))
            assert done.unknown.p[column][i] == pytest.approx(p / 13, abs=1e-9 + close / 13), (i, column)
    schema = done.manifest.schema
    for network, own in enumerate(seen[1]):  # of the factor mask
        images = [i for i in range(len(table)) if unseen[i] == network]
        assert own.group.tolist() == table.group[images].tolist() and len(own.without) == 3
        for c in own.without:
            for at in range(0, len(images), 13):
                row = images[at]
                slow = far(table.vectors[row], network, str(table.group[row]), schema.factors[0].classes[c])
                assert own.without[c][scores.neighbour(5)][at] == pytest.approx(slow[4], abs=1e-5)


def test_a_gallery_of_images_that_were_trained_on_marks_nothing(runs: Path, tmp_path: Path) -> None:
    validated = set(read_validation(RunDir(runs / FOLD).validation).sha256.tolist())
    table = read_embeddings(embed(FOLD, runs_folder=runs, quiet=True))
    trained = tmp_path / "trained.parquet"
    write_embeddings(trained, table.at([i for i, d in enumerate(table.sha256.tolist()) if d not in validated]))
    galleries.build_gallery(FOLD, runs_folder=runs, embeddings=trained, name="trained", quiet=True)
    with pytest.raises(DataError, match="has no labeled images that it was not trained on"):
        predict(["trained"], runs_folder=runs, unknown=0.1, write=False, quiet=True)


@pytest.mark.slow
@pytest.mark.usefixtures("gallery")
def test_a_gallery_has_sets_and_several_sources_have_their_mean(runs: Path) -> None:
    alone = [predict([name], runs_folder=runs, unknown=0.2, sets=0.8, write=False, quiet=True) for name in ("g", FOLD)]
    both = predict(["g", FOLD], runs_folder=runs, unknown=0.2, sets=0.8, write=False, quiet=True)
    for done in (*alone, both):
        assert done.sets is not None and min(size or 0 for size in done.sets.mean_size.values()) >= 1
    assert both.sets is not None and [list(own) for own in both.sets.records] == 2 * [["mask", "gender", "age"]]
    p = [done.unknown.p["unknown"] for done in (*alone, both) if done.unknown is not None]
    np.testing.assert_allclose(p[2], (p[0] + p[1]) / 2)


def test_what_cannot_be_is_said(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def asked(run: Any = FOLD, **options: Any) -> Predictions:
        return predict([run], runs_folder=runs, write=False, **options)

    for wrong in (0.0, 1.0, -1.0, 5.0, float("nan")):
        for flag in ("unknown", "sets"):
            with pytest.raises(InputError, match=f"--{flag} .* is not between 0 and 1"):
                asked(**{flag: wrong})
    few = asked(unknown=0.01, sets=0.99)
    said = " ".join(capsys.readouterr().out.split())
    assert "no image can be marked: a rate of 0.01 needs 99 groups" in said
    assert (
        "every class is in every set: 0.99 needs 99 groups that the runs were not trained on, and there are 6" in said
    )
    assert few.sets is not None and few.sets.mean_size == {"mask": 3, "gender": 2, "age": 3}
    assert few.unknown is not None and not few.unknown.marked["unknown"].any()
    bare = Path(shutil.copytree(runs / FOLD, tmp_path / "bare"))
    manifest = RunDir(bare).manifest
    manifest.write_text(manifest.read_text().replace(",val,", ",train,"))
    for option in ({"unknown": 0.2}, {"sets": 0.8}):
        with pytest.raises(DataError, match="has no labeled images that it was not trained on"):
            asked(bare, **option)
