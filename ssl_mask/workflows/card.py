"""`sslmask card make`: the card of a run, a study, an exported network, a data set or a pool, for others to read.

A card that a person has edited is kept. `--push` uploads what predicts together with the card; photos never.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.digests import digest_files
from ssl_mask.data.load import read_rows
from ssl_mask.errors import DataError, GuardError, InputError, nothing_written
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.status import Mark
from ssl_mask.reading import read_text, reading
from ssl_mask.reports.croissant import croissant
from ssl_mask.reports.dataset_card import dataset_card
from ssl_mask.reports.described import TABLE, Described, described_data, described_pool
from ssl_mask.reports.hub_card import read_front_matter, refuse_unknown_license, write_unless_edited
from ssl_mask.reports.hub_push import push_folder, refuse_no_hub
from ssl_mask.reports.model_card import TASK, model_card
from ssl_mask.reports.model_facts import facts_of, facts_of_exported
from ssl_mask.reports.model_scores import ModelFacts
from ssl_mask.reports.verify_card import read_card
from ssl_mask.runs.exported import ExportedModel
from ssl_mask.runs.find import is_exported
from ssl_mask.runs.gallery import is_gallery
from ssl_mask.runs.handed_on import hand_on, hand_on_exported, refuse_kind, refuse_places
from ssl_mask.runs.sources import find_source

CARDS = Path("data_cards")
_TRUSTED = {"clean", "photos-clean", "not-checked"}


@dataclass(frozen=True)
class MadeCard:
    """A card that was made."""

    path: Path
    kept: bool
    """Whether a person has edited it: it was left as it is."""
    others: tuple[Path, ...] = ()
    """What was written beside it."""
    url: str = ""
    """Where it was pushed to."""


class _Model(NamedTuple):
    """A run, a study or an exported network that gets a card."""

    card: Path
    facts: ModelFacts
    root: Path
    hand_on: Callable[[Path], None]


def make_card(
    what: str | Path,
    *,
    runs_folder: str | Path = "runs",
    reading: DataConfig | None = None,
    license_id: str | None = None,
    push: str | None = None,
    private: bool = True,
    quiet: bool = False,
) -> MadeCard:
    """Write a card; with `push` also upload it, with all that predicts.

    Args:
        what: name or path of a run or a study, `latest`, a `model.onnx`, the folder of a data set, or a data card of
            `sslmask audit` (its .json or .md).
        reading: how a data set is read; None: as the defaults say. Its folder is `what`.
        license_id: an identifier of the Hugging Face Hub; None: the card names no license.
        push: `OWNER/NAME` of a model repository on the Hub, which is made where it is not there.
        private: whether a new repository is private; an existing public one is then refused.

    Raises:
        SslMaskError: nothing of that name, a damaged file, a data set to push, a card without its leakage status, a
            repository that cannot be written, no room.
    """
    refuse_unknown_license(license_id)
    console = Console(quiet=quiet)
    with nothing_written("the card"):
        if (data := _described(what, Path(runs_folder), reading or DataConfig(), console)) is not None:
            if push is not None:
                raise InputError(
                    f"--push takes runs, studies and exported networks; {what} is data, and photos are never pushed.",
                    hint=f"Leave --push out, and upload what is written by hand if you may: {CARDS / data.name}",
                )
            return _write_data_card(data, license_id, console)
        if push is not None:
            refuse_no_hub()
        model = _model(what, Path(runs_folder))
        made = _write_model_card(model, license_id, push, console)
    if push is None:
        return made
    return MadeCard(made.path, made.kept, url=_push(model, push, private=private, console=console))


def _described(what: str | Path, runs_folder: Path, asked: DataConfig, console: Console) -> Described | None:
    """The data set or the pool that is named; None where it is a run, a study or an exported network."""
    path = Path(what)
    if path.suffix in {".json", ".md"} and path.is_file():
        return described_pool(read_card(path), path.absolute().parent)
    places = (path, runs_folder / path)
    if is_exported(what) or any(
        is_gallery(p) or (p / "run.json").exists() or (p / "study.json").exists() for p in places
    ):
        return None
    if not path.is_dir() or str(what) == "latest":
        return None
    rows = read_rows(asked.model_copy(update={"root": path}), console)
    with console.progress("Reading", len(rows)) as advance:
        digests: list[str] = []
        for start in range(0, len(rows), 256):
            digests += digest_files(rows.files[start : start + 256], None)
            advance(len(digests))
    return described_data(rows.with_digests(digests), path.absolute().name)


def _write_data_card(data: Described, license_id: str | None, console: Console) -> MadeCard:
    folder = CARDS / data.name
    card, table, description = folder / "README.md", folder / TABLE, folder / "croissant.json"
    with nothing_written("the card"):
        kept = not write_unless_edited(card, dataset_card(data, license_id))
        write_text(table, data.table())
        write_json(description, croissant(data, license_id))
    _tell(card, kept, console)
    console.say(f"Saved  {description}, {table}  ({len(data.images)} images)")
    return MadeCard(card, kept, (description, table))


def _model(what: str | Path, runs_folder: Path) -> _Model:
    if is_exported(what):
        exported = ExportedModel(Path(what))
        facts = facts_of_exported(exported)
        card = exported.path.with_name(f"{exported.path.stem}_card.md")
        return _Model(card, facts, exported.path.parent, lambda out: hand_on_exported(exported, out))
    source = find_source(what, runs_folder)
    refuse_kind(source)
    return _Model(source.path / "model_card.md", facts_of(source), source.path, lambda out: hand_on(source, out))


def _write_model_card(model: _Model, license_id: str | None, push: str | None, console: Console) -> MadeCard:
    text = model_card(model.facts, license_id, push or "OWNER/NAME")
    kept = not write_unless_edited(model.card, text)
    _tell(model.card, kept, console)
    return MadeCard(model.card, kept)


def _tell(card: Path, kept: bool, console: Console) -> None:
    if kept:
        console.say(f"Kept   {card}, which was edited: delete it for a new one")
    else:
        console.say(f"Saved  {card}")


def _push(model: _Model, repository: str, *, private: bool, console: Console) -> str:
    with reading(model.card, DataError, hint="Delete it: it is then written anew."):
        text = read_text(model.card)
    refuse_silent_card(text, str(model.card), model.facts.mark)
    with TemporaryDirectory(prefix="sslmask-push-") as folder:
        out = Path(folder)
        model.hand_on(out)
        write_text(out / "README.md", text)
        roots = (model.root, *([] if model.facts.data is None else [Path(model.facts.data.root)]))
        refuse_places(out, tuple(str(root) for root in roots if root.is_absolute() and len(root.parts) > 2))
        return push_folder(repository, out, private=private, console=console)


def refuse_silent_card(text: str, where: str, mark: Mark) -> None:
    """Check a card that a person may have edited before it is handed on.

    Raises:
        DataError: its front matter is damaged, or of another task.
        GuardError: scores of the model are not those of new images, and the card does not say so.
    """
    metadata = read_front_matter(text, where)
    if metadata.get("pipeline_tag") != TASK:
        raise DataError(f"{where}: its `pipeline_tag` is not {TASK}.", hint="Delete it: it is then written anew.")
    said = f"Leakage: {mark.status}" in text and f"leakage:{mark.status}" in (metadata.get("tags") or ())
    if mark.status not in _TRUSTED and not said:
        raise GuardError(
            f"{where} does not say that the status of this model is {mark.status}: its scores are not those of new "
            "images, and whoever reads the card must know.",
            hint=f"Put back the words `Leakage: {mark.status}` and the tag `leakage:{mark.status}`, or delete the "
            "card: it is then written anew.",
        )
