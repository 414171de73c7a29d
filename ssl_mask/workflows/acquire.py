"""`sslmask acquire`: which groups (persons) of a pool to label next. Writes a table to fill in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.extra_labels import Wanted, to_label_csv
from ssl_mask.data.image_groups import path_below
from ssl_mask.data.image_set import ImageSet
from ssl_mask.data.labeling_pool import numbered_groups
from ssl_mask.data.load import read_manifest
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.gate import GateResult, gate_new_labels
from ssl_mask.guard.policy import TO_LABEL
from ssl_mask.inference.acquisition import Measured, choose_groups
from ssl_mask.inference.acquisition_pool import as_training_images, labeled_by, open_pool, refuse_budget
from ssl_mask.inference.embeddings import named_source, one_process
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.mean_predictor import MeanPredictor
from ssl_mask.inference.predictor import Compute
from ssl_mask.pseudo_labeling.round import image_size
from ssl_mask.reports.acquire_sheet import WantedGroup, acquire_sheet
from ssl_mask.runs.acquired import AcquireDir, AcquireRecord, ChoosingRun
from ssl_mask.runs.create import create_folder, refuse_taken
from ssl_mask.runs.environment import code_version
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source
from ssl_mask.selection.acquisition import BUDGET, DEFAULT, Chosen, Rule


@dataclass(frozen=True)
class Acquisition:
    """What was chosen to be labeled."""

    path: Path
    """The folder."""
    table: Path
    """The CSV to fill in; `data.extra_labels` reads it."""
    sheet: Path
    """A row of pictures for each group, as PNG."""
    record: AcquireRecord


def acquire(
    runs: Sequence[str | Path] = ("latest",),
    *,
    runs_folder: str | Path = "runs",
    pool: Sequence[str] = (),
    budget: int = BUDGET,
    by: Rule = DEFAULT,
    group_regex: str | None = None,
    seed: int = 0,
    name: str | None = None,
    on_bad: Literal["fail", "skip"] = "fail",
    guard: Literal["on", "off"] | None = None,
    drop_overlap: bool = False,
    cache: str = "auto",
    max_pixels: int | None = None,
    quiet: bool = False,
) -> Acquisition:
    """Choose the groups (persons) of a pool that are worth labeling next, and write a table to fill in.

    Filled in, it is trained on with `data.extra_labels`, and the split of the data set stays as it was.

    Args:
        runs: names or paths of runs and studies whose models choose, or `latest`; each counts equally.
        pool: folders, globs or CSVs with an image column; the data set's own unlabeled images join them. None named:
            those that the run was trained with.
        budget: groups to choose. An image whose group is not known is a group of its own.
        by: the rule; see `ssl_mask.selection.acquisition`.
        group_regex: finds the group in the path of an image. None: as the data set of the run finds it.
        seed: of the rule `random`.
        name: of the folder, in `runs_folder`. None: the next free one, such as `acquire-001`.
        on_bad: an unreadable image stops (`fail`), or is left out (`skip`).
        guard: compare the pool with the test images; None: as the run was configured.
        drop_overlap: leave out images that are also in the test set, instead of refusing all.
        max_pixels: an image with more pixels is refused. None: as the run was configured.

    Raises:
        DataError: no run, no images. ImageError: an unreadable image. GuardError: images of the test set.
        InputError: more groups than the pool has, a rule that needs several models, or the name is taken.

    Examples:
        >>> import ssl_mask
        >>> found = ssl_mask.acquire(["first"], pool=["extra"], budget=3, name="to-label", quiet=True)
        >>> found.table.name, found.record.groups
        ('acquire.csv', 3)
    """
    compute = one_process(quiet=quiet)
    console = compute.console
    with nothing_written():
        if name:
            refuse_taken(Path(runs_folder) / name)
        sources = [named_source(run, Path(runs_folder)) for run in runs]
        models = _models(sources, by, compute, cache, max_pixels)
        config = sources[0].members[0].trained_config()
        reading = _reading(config.data, on_bad, cache, max_pixels)
        named = tuple(pool) or reading.unlabeled
        dataset = read_manifest(reading, Console(quiet=True))
        labeled = labeled_by(sources, dataset)
        expression = group_regex or reading.options.get("group_regex")
        found = open_pool(named, dataset, labeled, expression, reading, image_size(sources[0]), console)
        refuse_budget(budget, found.manifest)
        gate = gate_new_labels(
            config, as_training_images(found.manifest, dataset.root), compute.accelerator, console, mode=guard,
            drop_overlap=drop_overlap, name=TO_LABEL,
        )  # fmt: skip
        found = found.without(gate.dropped(TO_LABEL), "also in the test set")
        refuse_budget(budget, found.manifest)
        console.say(f"Choose {budget} of {numbered_groups(found.manifest)[1]} groups by {by}")
        chosen, measured = choose_groups(by, budget, models, found.manifest, labeled, seed=seed)
    settled = config.model_copy(update={"runs": Path(runs_folder), "name": name})
    about = {"sources": tuple(str(s.path.absolute()) for s in sources), "by": by, "seed": seed, "budget": budget,
             "pool": named, "members": _members(sources)}  # fmt: skip

    def fill(folder: Path, _: str) -> None:
        write(AcquireDir(folder), found, chosen, measured, dataset.root, gate, about, reading)

    home = AcquireDir(create_folder(settled, "acquire", fill))
    record = home.record()
    console.say(
        f"Saved  {home.table}  ({record.images} images of {record.groups} groups; {home.sheet.name} shows them)"
    )
    inside = all(file.is_relative_to(dataset.root) for file in found.manifest.files)
    console.say(f"Next   fill in the labels, then: sslmask train --set data.extra_labels={home.table}"
                + ("" if inside else " --set data.outside_root=allow"))  # fmt: skip
    return Acquisition(home.path, home.table, home.sheet, record)


def _reading(
    data: DataConfig, on_bad: Literal["fail", "skip"], cache: str, max_pixels: int | None
) -> DataConfig:  # fmt: skip
    """How the images of a run are read. All factors are to be labeled; what was labeled later, the run knows itself."""
    asked: dict[str, Any] = {"on_bad": on_bad, "factor": None, "extra_labels": ()}
    asked |= {} if cache == "auto" else {"cache": cache}
    return data.model_copy(update=asked if max_pixels is None else {**asked, "max_pixels": max_pixels})


def _models(
    sources: Sequence[Source], by: Rule, compute: Compute, cache: str, max_pixels: int | None
) -> MeanPredictor:  # fmt: skip
    """Each model with its share: the sources count equally, and within one its models."""
    models = [(model, 1 / (len(sources) * len(source.models))) for source in sources for model in source.models]
    if by == "disagreement" and len(models) < 2:
        raise InputError(
            "--by disagreement needs several models, but there is one.",
            hint="Name a study of folds (sslmask train --folds 5), or several --run.",
        )
    loaded = tuple(load_predictor([model], compute, cache=cache, max_pixels=max_pixels) for model, _ in models)
    return MeanPredictor("+".join(s.name for s in sources), loaded, tuple(share for _, share in models))


def _members(sources: Sequence[Source]) -> tuple[ChoosingRun, ...]:
    return tuple(
        ChoosingRun(run=str(run.path.absolute()), checkpoint_sha256=file_digest(run.best))
        for source in sources
        for run in source.members
    )


def write(
    home: AcquireDir, pool: ImageSet, chosen: Chosen, measured: Measured, root: Path, gate: GateResult,
    about: Mapping[str, Any], reading: DataConfig,
) -> None:  # fmt: skip
    """The table, the sheet and the record."""
    rows, (group_of, groups) = pool.manifest, numbered_groups(pool.manifest)
    wanted: list[Wanted] = []
    sheet: list[WantedGroup] = []
    for rank, (group, score) in enumerate(zip(chosen.groups.tolist(), chosen.scores.tolist(), strict=True), start=1):
        own, why = np.flatnonzero(group_of == group).tolist(), measured.reasons[group]
        name = rows.rows[own[0]].group
        wanted += [Wanted(path_below(rows.files[i], root), name, rank, score, why, rows.rows[i].digest) for i in own]
        sheet.append(WantedGroup((f"{rank}. {name or rows.files[own[0]].name}", why), [rows.files[i] for i in own]))
    text = to_label_csv(rows.schema, wanted)
    write_text(home.table, text)
    title = f"To label: {len(sheet)} groups of {groups}, by {about['by']}"
    acquire_sheet(sheet, home.sheet, title=title, max_pixels=reading.max_pixels)
    record = AcquireRecord(
        groups=len(sheet), images=len(wanted), pool_images=len(rows), pool_groups=groups,
        left_out=len(pool.left_out), table_sha256=file_digest(home.table),
        code=code_version(), checked=gate.findings is not None, leakage=gate.mark.status,
        leakage_reason=gate.mark.reason, marks={digest: mark.status for digest, mark in gate.marks.items()}, **about,
    )  # fmt: skip
    write_json(home.record_file, record.to_json())
