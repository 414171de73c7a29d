"""Opening a search: a new one, or one that the same command has begun, and the journal of one that is on the disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.files import one_at_a_time, storage
from ssl_mask.runs.folds import FoldsSettings
from ssl_mask.runs.study import begin_study, find_study, list_studies
from ssl_mask.runs.trials import Metric, TrialStudy, TuneSettings
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.space import default_params, parse_space, read_space


def journal_of(search: TrialStudy) -> Journal:
    """The journal of a search that is on the disk."""
    asked, base = search.settings(), default_config(search)
    space = parse_space(asked.space, base, asked.space_file)
    return Journal(search, space, default_params(base, space), base.seed, asked.metric, asked.trials)


def default_config(search: TrialStudy) -> RunConfig:
    return validate(search.study.record().config)


def checked_settings(
    config: RunConfig, space: Path | None, trials: int | None, folds: int, repeats: int, metric: Metric, confirm: int,
    console: Console,
) -> TuneSettings:  # fmt: skip
    """What a new search is made of.

    Raises:
        ConfigError: no space, a wrong one, or settings that folds cannot have.
        DataError: the data set cannot be folded.
    """
    if space is None:
        raise ConfigError("A search needs a space.", hint="Name its file: sslmask tune --space space.yaml")
    asked = TuneSettings(
        space=read_space(space), space_file=str(space), trials=trials or 30, folds=folds, repeats=repeats,
        metric=metric, confirm=confirm,
    )  # fmt: skip
    if config.factors:
        raise ConfigError("A search is of one model, not of factor models.", hint="Search one: --set data.factor=NAME")
    parse_space(asked.space, config, str(space))
    checked_config(config, FoldsSettings(folds=folds, repeats=repeats), console)
    return asked


def new_search(config: RunConfig, asked: TuneSettings, console: Console) -> TrialStudy:
    """One that the same command has begun, or a fresh one."""
    with storage(config.runs):
        config.runs.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(config.runs / ".tune.lock"):  # of two equal commands, the second one joins the first
        begun = begun_before(config, asked)
        if begun is not None:
            console.say(f"Goes on with {begun.path}, which this command has begun.")
            return begun
        return TrialStudy(begin_study(config, "tune", "tune", "trials", asked.to_json()))


def begun_before(config: RunConfig, asked: TuneSettings) -> TrialStudy | None:
    """The search of this name, or without a name one that is not finished, with the same settings.

    So a command that was killed is simply given again, and several processes share a search by the same command.
    """
    named = find_study(config.runs / config.name, config.runs) if config.name else None
    found = ([named] if named else []) if config.name else list_studies(config.runs)
    for search in map(TrialStudy, found):
        with suppress(DataError):  # another study is damaged: not ours to say
            record = search.study.record()
            same = record.kind == "trials" and record.config == config.model_dump(mode="json")
            if same and search.settings() == asked and (config.name or not search.verdict_file.is_file()):
                return search
    return None


def extended(search: TrialStudy, trials: int | None) -> TrialStudy:
    """The search, with more trials where more are asked for.

    Raises:
        ConfigError: fewer are asked for.
    """
    settings = search.settings()
    if trials is None or trials == settings.trials:
        return search
    if trials < settings.trials:
        raise ConfigError(f"{search.path} has {settings.trials} trials, not {trials}.", hint="Leave out --trials.")
    search.study.change_settings(trials=trials)
    search.verdict_file.unlink(missing_ok=True)
    return search
