"""What can be refused without torch is refused before torch is imported, which takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ssl_mask.config import RunConfig, merge, merged, resolve, settle_length, validate
from ssl_mask.errors import ConfigError, InputError, StorageError

if TYPE_CHECKING:
    from ssl_mask.cli.flags import Given
    from ssl_mask.runs.folds import FoldsSettings


def check_settings(layers: Iterable[Mapping[str, Any]], *, resumed: bool = False, recipe: str = "") -> RunConfig:
    """The configuration as it is on a machine without a GPU; it differs from the final one in the preset only.

    Args:
        resumed: a run is continued, with the configuration that it has.

    Raises:
        ConfigError: any wrong setting. DataError: the run to start from does not exist.
    """
    from ssl_mask.runs.find import find_run
    from ssl_mask.runs.sources import find_source

    settings = resolve(layers, has_gpu=lambda: False, recipe=recipe)
    if not resumed:
        if settings.init_from is not None:
            find_run(settings.init_from, settings.runs)
        for teacher in settings.pseudo.teachers:
            find_source(teacher, settings.runs)
    return settings


def check_folder(settings: RunConfig) -> None:
    """Raises DataError when there is no data set in the folder, ConfigError when its layout is unknown."""
    from ssl_mask.data.layouts import settle

    settle(settings.data.root, settings.data.layout, settings.data.options.keys())


def check_resumed(given: Given, own: RunConfig, run: Path, *, longer: bool) -> None:
    """Refuse what the command line asks of a run that is continued: it keeps the configuration that it began with.

    Args:
        own: the configuration of the run.
        longer: whether `--steps` and `--epochs` may differ, which train it longer.

    Raises:
        ConfigError: names each setting that would be ignored, with both values.
    """
    asked = merged(given.asked())
    asked.pop("runs", None)
    if longer and given.length:
        asked["train"] = {key: value for key, value in asked["train"].items() if key not in {"steps", "epochs"}}
    changed = validate(merge(settle_length(own.model_dump(mode="json"), asked), asked))
    differences = list(_differences(own.model_dump(), changed.model_dump()))
    if differences:
        raise ConfigError(
            f"{run} keeps the settings that it began with, but this command has others:\n" + "\n".join(differences),
            hint="Leave them out to continue it, or start a new run."
            + (" Only --steps or --epochs may change, to train longer." if longer else ""),
        )


def _differences(own: Mapping[str, Any], asked: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in own.items():
        other = asked[key]
        if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
            yield from _differences(value, other, f"{above}{key}.")
        elif value != other and not (isinstance(value, Path) and isinstance(other, Path) and _is_same(value, other)):
            yield f"  {above}{key}: {value} in the run, {other} in this command"


def _is_same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def check_seeds(given: Sequence[int] | None, baseline: bool, settings: Mapping[str, Any], study: Path) -> None:
    """Raises ConfigError when a study that is continued has other seeds, or no baseline."""
    if given is not None and list(given) != list(settings.get("seeds", ())):
        raise ConfigError(f"{study} has other seeds.", hint="Leave out --seeds to continue it, or start a new study.")
    if baseline and not settings.get("baseline"):
        raise ConfigError(f"{study} has no baseline.", hint="Leave out --baseline, or start a new study.")


class FoldFlags(NamedTuple):
    """`--folds`, `--repeats` and `--refit`, as they were given."""

    folds: int | None
    repeats: int | None
    refit: bool

    def refuse_alone(self) -> None:
        """Raises ConfigError when only --folds gives the others a meaning."""
        for name, given in (("--repeats", self.repeats is not None), ("--refit", self.refit)):
            if given and self.folds is None:
                hint = f"Add --folds 5, or leave out {name}."
                raise ConfigError(f"{name} has no meaning without --folds.", hint=hint)

    def refuse_others(self, own: FoldsSettings | None, study: Path) -> None:
        """Raises ConfigError when a study that is continued has other folds, or none."""
        for flag, value, has in (
            ("--folds", self.folds, own and own.folds),
            ("--repeats", self.repeats, own and own.repeats),
            ("--refit", self.refit or None, own and self.refit),
        ):
            if value not in {None, has}:
                what = f"{flag.strip('-')} {has}, not {value}" if own is not None else "no folds"
                hint = f"Leave out {flag} to continue it, or begin a new study."
                raise ConfigError(f"{study} has {what}.", hint=hint)


StudyKind = Literal["folds", "factors"]
"""What `train` and `uda` train where it is not a single run."""


def new_kind(early: RunConfig, asked: FoldFlags, *, dry_run: bool) -> StudyKind | None:
    """Which kind of study is begun, None for a run.

    Raises:
        ConfigError: flags without a meaning. StorageError: nothing can be written into the folder of runs.
    """
    asked.refuse_alone()
    if not dry_run:
        check_folder_to_write(early.runs, "--runs")
    return "factors" if early.factors else "folds" if asked.folds is not None else None


def resumed_kind(given: Given, name: str, runs: Path, verb: str, asked: FoldFlags) -> StudyKind | None:
    """Which kind of study `--resume name` continues, which may get a refit; None for a run. It keeps its settings.

    Raises:
        ConfigError: the command line asks for other settings, or for folds of a single run.
        InputError: another verb made the study. DataError: there is no such run.
    """
    from ssl_mask.runs.factors import FactorStudy
    from ssl_mask.runs.find import find_run
    from ssl_mask.runs.folds import FoldStudy
    from ssl_mask.runs.study import find_study, resumed_study

    found = find_study(name, runs) if name != "latest" else None
    kind = None if found is None else found.record().kind
    if kind not in {"folds", "factors"}:
        asked.refuse_alone()
        if asked.folds is not None:
            raise ConfigError(f"{name} is not a study of folds.", hint="Begin one: leave out --resume.")
        run = find_run(name, runs)
        check_resumed(given, run.config(), run.path, longer=True)
        return None
    study = resumed_study(name, runs, verb)
    check_resumed(given, validate(study.record().config), study.path, longer=False)
    own = FoldStudy(study).settings() if kind == "folds" else FactorStudy(study).settings().folds
    asked.refuse_others(own, study.path)
    return "folds" if kind == "folds" else "factors"


def parse_seeds(text: str | None) -> list[int] | None:
    """`"0,1,2"` as numbers.

    Raises:
        InputError: not whole numbers, or one twice.
    """
    if text is None:
        return None
    parts = [p.strip() for p in text.split(",")]
    seeds = [int(p) for p in parts if p.isdecimal()]
    if len(set(seeds)) < len(parts):
        raise InputError(f"--seeds {text!r}: expected different whole numbers, such as 0,1,2.")
    return seeds


def check_folder_to_write(folder: Path, flag: str) -> None:
    """Raises StorageError when nothing can be written into a folder, which need not be there."""
    place = folder.absolute()
    there = next(p for p in (place, *place.parents) if os.path.lexists(p))
    hint = f"Choose another folder: {flag}"
    if not there.is_dir():
        raise StorageError(f"Cannot write into {folder}: {there} is not a folder.", hint=hint)
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"Cannot write into {folder}: no permission to write in {there}.", hint=hint)


def check_page(out: Path | None, *, text: bool, **others: bool) -> None:
    """What a verb that writes a page can refuse at once.

    Args:
        out: the file that will be written, where that is known.
        text: `--text`: nothing is written.
        others: flags that only a page gives a meaning, and whether they were given.

    Raises:
        ConfigError: flags of a page with --text. StorageError: the file cannot be written.
    """
    given = [f"--{name}" for name, there in {"out": out is not None, **others}.items() if there]
    if text and given:
        raise ConfigError("--text writes no page.", hint=f"Leave out {' and '.join(given)}, or --text.")
    if out is not None:
        check_file_to_write(out, "--out")


def check_file_to_write(file: Path, flag: str) -> None:
    """Raises StorageError when a file cannot be written, or a folder or a device has its name."""
    if os.path.lexists(file) and not file.is_file():
        what = "a folder" if file.is_dir() else "not a file"
        raise StorageError(f"Cannot write {file}: it is {what}.", hint=f"Name a file: {flag}")
    check_folder_to_write(file.parent, flag)
