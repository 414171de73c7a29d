"""Which models may teach a student: by hand-made manifests, and against a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import SCHEMA, data_record, metadata
from textures import texture, write
from torch import nn

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, MismatchError, ModelError, OverlapError, UndeclaredError
from ssl_mask.guard.ancestors import UNKNOWN, run_ancestor
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import fingerprint
from ssl_mask.guard.copies.sketches import sketched
from ssl_mask.guard.findings import Pool
from ssl_mask.guard.gate import GateResult
from ssl_mask.guard.lineage import inherited
from ssl_mask.guard.policy import judge
from ssl_mask.guard.seen import save_seen
from ssl_mask.guard.teachers import HeldOut, Learned, dishonest, learned_by
from ssl_mask.pseudo_labeling import fold_students
from ssl_mask.pseudo_labeling.fold_setting import Setting
from ssl_mask.pseudo_labeling.honest import honest_models, learned_from, named_models
from ssl_mask.runs.checkpoint import save_checkpoint
from ssl_mask.runs.folds import member_name
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source, run_source
from ssl_mask.runs.study import create_study

QUIET = Console(quiet=True)
HEADER = "path,group,split,source,id,sha256\n"


def made(path: Path, trained: str, *, validated: str = "", grouped: bool = True, **fields: Any) -> RunDir:
    """A run that was trained on the images `a1 b2 …`: the letter is the group, the whole the digest."""
    run = RunDir(path)
    rows = [(name, split) for names, split in ((trained, "train"), (validated, "val")) for name in names.split()]
    path.mkdir(parents=True)
    run.manifest.write_text(HEADER + "".join(f"{n}.jpg,{n[0]},{s},t,{n},{n}\n" for n, s in rows))
    record = {"seen": None, "data": data_record(grouped=grouped, root=str(path.parent)), **fields}
    save_checkpoint(run.best, nn.Linear(2, 3), metadata(run=path.name, **record))
    return run


def validation(names: str, *, grouped: bool = True) -> Manifest:
    rows = tuple(Row(f"{n}.jpg", n[0], "val", "t", None, digest=n) for n in names.split())
    return Manifest(Path("/data"), "table", LabelSchema(()), rows, grouped, Submission("", (), "names"))


GROUP = st.sampled_from("abcdef")
IMAGES = st.lists(st.tuples(GROUP, st.integers(0, 3)), max_size=8)


@settings(max_examples=100, deadline=None)
@given(trained=IMAGES, held_out=IMAGES, grouped=st.booleans())
def test_a_teacher_is_honest_that_shares_no_image_and_no_group(
    trained: list[tuple[str, int]], held_out: list[tuple[str, int]], grouped: bool
) -> None:
    learned = Learned(frozenset(f"{g}{i}" for g, i in trained), frozenset(g for g, _ in trained if grouped))
    shares = False
    for group, image in held_out:
        for other, another in trained:
            shares |= (group, image) == (other, another) or (grouped and group == other)
    names = " ".join(f"{g}{i}" for g, i in held_out)
    assert bool(dishonest(learned, HeldOut.of(validation(names, grouped=grouped)))) == shares


def test_what_is_not_known_is_not_honest() -> None:
    assert dishonest(Learned(frozenset(), frozenset(), "nobody knows"), HeldOut.of(validation("a1"))) == "nobody knows"


def test_a_run_has_learned_what_it_and_its_ancestors_were_trained_on(tmp_path: Path) -> None:
    oldest = made(tmp_path / "oldest", "a1 a2", validated="z1")
    parent = made(tmp_path / "parent", "b1", ancestors=(str(oldest.path),))
    child = made(tmp_path / "child", "c1", validated="d1", ancestors=(str(parent.path),))
    learned = learned_by(child)
    assert (learned.digests, learned.groups, learned.unknown) == ({"a1", "a2", "b1", "c1"}, {"a", "b", "c"}, "")
    assert dishonest(learned, HeldOut.of(validation("d1 e1"))) == ""
    assert "1 of these 2 images, such as a2.jpg" in dishonest(learned, HeldOut.of(validation("a2 e1")))
    assert "1 of these 2 groups, such as a" in dishonest(learned, HeldOut.of(validation("a9 e1")))


def test_images_without_persons_are_compared_alone(tmp_path: Path) -> None:
    assert learned_by(made(tmp_path / "run", "a1 b1", grouped=False)).groups == frozenset()


def test_an_ancestor_that_is_gone_or_unknown_leaves_doubt(tmp_path: Path) -> None:
    for name, ancestor in (("orphan", str(tmp_path / "gone")), ("foreign", UNKNOWN)):
        learned = learned_by(made(tmp_path / name, "a1", ancestors=(ancestor,)))
        assert "nobody knows all that" in learned.unknown


def test_the_seen_set_knows_images_whose_run_is_gone(tmp_path: Path) -> None:
    (photo,) = write(tmp_path / "photos", [texture(1)])
    prints = fingerprint([photo], cache=None)
    kept = tmp_path / "seen.npz"
    save_seen(kept, sketched(prints))
    seen = {"train": {"images": 1, "sha256": file_digest(kept)}}
    run = made(tmp_path / "heir", "a1", seen=seen, ancestors=(str(tmp_path / "gone"),))
    run.seen("train").write_bytes(kept.read_bytes())
    learned = learned_by(run)
    assert (learned.digests, learned.unknown) == ({"a1", *prints.digests}, "")
    run.seen("train").write_bytes(b"other")
    with pytest.raises(MismatchError, match="not what the checkpoint was saved with"):
        learned_by(run)


def test_the_honest_of_several_teachers_are_taken_and_none_is_refused(tmp_path: Path) -> None:
    runs = [made(tmp_path / f"fold-{k}", " ".join(f"{g}1" for g in "abc" if g != "abc"[k])) for k in range(3)]
    models = {run_source(run): learned_by(run) for run in runs}
    for k, group in enumerate("abc"):
        assert honest_models(models, validation(f"{group}1"), QUIET) == (run_source(runs[k]),)
    with pytest.raises(OverlapError, match="No teacher has left out the validation images of fold 1") as refused:
        honest_models(models, validation("a1 b1"), QUIET, student="fold 1")
    assert "fold-0" in refused.value.problem and "such as b1.jpg" in refused.value.problem
    assert "study of folds" in refused.value.hint
    assert honest_models(models, validation("a1 b1"), QUIET, leaked=True) == tuple(models)


def by_folds(folder: Path) -> RoundStudy:
    """Rounds of three folds, each of another person; round 0 is trained."""
    asked = {"folds": 3, "rounds": 1}
    whole = RoundStudy(create_study(folder / "p", "pseudo", "rounds", RunConfig(), asked))
    folds = whole.round(0)
    create_study(folds.path, "pseudo", "folds", RunConfig(), {"folds": 3})
    for k in range(3):
        run = made(folds.path / member_name(0, k), " ".join(f"{g}1" for g in "abc" if g != "abc"[k]))
        run.update(status="finished", verb="pseudo", name=run.name, started="now", step=1, best=None, leakage="clean")
    folds.record_file.write_text("{}")
    return whole


@pytest.mark.parametrize("leaked", [False, True])
def test_a_student_of_a_fold_is_taught_by_the_model_that_has_not_seen_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaked: bool
) -> None:
    """By the others only where that is declared; whether they are of the round before or named by the user."""
    whole = by_folds(tmp_path)
    runs = whole.round(0).members()
    monkeypatch.setattr(fold_students, "open_labeled", lambda *_: None)
    named = {"pseudo": {"teachers": [str(run.path) for run in runs]}, "guard": {"leaked": leaked}}
    named["guard"] |= {"reason": "why", "allowed_by": "who"} if leaked else {}
    setting: Any = SimpleNamespace(
        config=RunConfig.model_validate(named), console=QUIET, named=dict.fromkeys([(0, k) for k in range(3)], ()),
        folds=[(0, k) for k in range(3)], val=lambda _, k: validation(f"{'abc'[k]}1"), split=lambda *_: None,
        manifests=dict.fromkeys([(0, k) for k in range(3)]), labeled=SimpleNamespace(schema=SCHEMA),
    )  # fmt: skip
    expected = {(0, k): tuple(map(run_source, runs if leaked else runs[k : k + 1])) for k in range(3)}
    assert {at: fold_students.student_of(setting, whole, 1, at).teachers for at in setting.folds} == expected
    assert Setting.named.func(setting) == expected  # type: ignore[attr-defined]
    setting.val = lambda *_: validation("a1 b1")
    if not leaked:
        with pytest.raises(OverlapError, match="No teacher has left out the validation images of fold 1"):
            fold_students.student_of(setting, whole, 1, (0, 1))
        with pytest.raises(OverlapError, match="No teacher has left out the validation images of fold 0"):
            Setting.named.func(setting)  # type: ignore[attr-defined]


def test_factor_models_of_one_fold_teach_together(tmp_path: Path) -> None:
    def folds(factor: str) -> Source:
        names = [" ".join(f"{g}1" for g in "abc" if g != own) for own in "abc"]
        runs = [made(tmp_path / factor / f"fold-{k}", trained) for k, trained in enumerate(names)]
        return Source(tmp_path / factor, "folds", tuple(map(run_source, runs)))

    hue, size = folds("hue"), folds("size")
    study = Source(tmp_path, "factors", (hue, size))
    assert [model.members for model in study.models] == [(hue.members[k], size.members[k]) for k in range(3)]
    models = {model: learned_from(model) for model in study.models}
    for k, group in enumerate("abc"):
        assert honest_models(models, validation(f"{group}1"), QUIET) == (study.models[k],)
    mixed = Source(tmp_path, "factors", (hue.parts[0], size.parts[1]))
    assert (learned_from(mixed).groups, learned_from(mixed).digests) == (set("abc"), {"a1", "b1", "c1"})


@pytest.mark.parametrize(("root", "refused"), [(True, True), (False, False)])
def test_another_photo_of_a_person_is_met_again_in_the_same_data_set(
    root: bool, refused: bool, tmp_path: Path, tiny: Callable[..., RunConfig]
) -> None:
    """A group is a name: in another data set it may be anybody's."""
    ancestor = run_ancestor(made(tmp_path / "ancestor", "a1"))
    photos = write(tmp_path / "photos", [texture(1), texture(2)])
    base = tmp_path if root else tmp_path / "photos"
    names = [p.relative_to(base).as_posix() for p in photos]
    pools = tuple(Pool(r, r, base, (n,), (g,), ("",)) for r, n, g in zip(("val", "train"), names, "ab", strict=True))
    prints = {p.name: fingerprint([p.root / n for n in p.paths], cache=None) for p in pools}
    findings = check(pools, cache=None, known=prints)
    gate = GateResult(pools, findings, judge(findings), None, prints)
    if refused:
        with pytest.raises(UndeclaredError, match=r"1 persons \(groups\) of the validation set, such as a"):
            inherited(gate, [ancestor], [{}], tiny(), QUIET)
    else:
        assert {m.status for m in inherited(gate, [ancestor], [{}], tiny(), QUIET).values()} != {"leaked-declared"}


def test_teachers_that_cannot_teach_are_named(tmp_path: Path) -> None:
    run = made(tmp_path / "teacher", "a1")
    status = {"verb": "uda", "name": "teacher", "started": "now", "step": 1, "best": None, "leakage": "clean"}
    run.update(status="running", **status)
    with pytest.raises(DataError, match="teacher is not finished") as refused:
        named_models(["teacher"], tmp_path, SCHEMA)
    assert "sslmask uda --resume" in refused.value.hint
    run.update(status="finished")
    (model,) = named_models(["teacher", str(run.path)], tmp_path, SCHEMA)  # named twice, it counts once
    assert model.members == (run,)
    with pytest.raises(ModelError, match="teacher was trained for other classes"):
        named_models(["teacher"], tmp_path, LabelSchema(SCHEMA.factors[:1]))
    with pytest.raises(DataError, match="No run 'nobody'"):
        named_models(["nobody"], tmp_path, SCHEMA)
