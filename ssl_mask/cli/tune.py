"""`sslmask tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_mask.cli.early import check_folder, check_folder_to_write, check_resumed, check_settings
from ssl_mask.cli.flags import DECLARED, GUARD, TRAINING, UNLABELED, Given, takes
from ssl_mask.cli.options import DryRun, Json, Quiet, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.config import resolve, validate
from ssl_mask.errors import ConfigError

app = typer.Typer(add_completion=False)
ENGINES, METRICS = ("optuna", "ray"), ("macro_f1", "nll")


def _number(flag: str, text: str, least: int) -> Any:
    return typer.Option(flag, metavar="<number>", min=least, rich_help_panel="Training", help=text)


@command(
    app,
    "sslmask tune --space space.yaml --trials 30",
    "sslmask tune --space space.yaml -c laptop --engine ray --parallel 4",
    "sslmask tune --resume tune-001 --trials 60",
)
@takes(*TRAINING, *UNLABELED, *GUARD, *DECLARED, shown={"algorithm.name": "supervised"})
def tune(
    given: Given,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="<file>",
            rich_help_panel="Training",
            help="YAML file of the settings to search, with lines such as optim.lr: {low: 1e-4, high: 3e-3, log: true} "
            "or model.backbone: (a list of names in square brackets).",
        ),
    ] = None,
    trials: Annotated[
        int | None, _number("--trials", "Trials in all, the default among them: 30 where it is not given.", 1)
    ] = None,
    folds: Annotated[int | None, _number("--folds", "Folds of each trial: 3 where it is not given.", 2)] = None,
    repeats: Annotated[
        int | None, _number("--repeats", "Splits on which each trial is trained: 1 where it is not given.", 1)
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="<macro_f1|nll>",
            rich_help_panel="Training",
            help="What the search looks at: macro_f1 (where it is not given) or nll, the log-loss.",
        ),
    ] = None,
    confirm: Annotated[
        int | None,
        _number(
            "--confirm", "Other splits on which the winner is compared with the default: 2 where it is not given.", 0
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="<optuna|ray>",
            rich_help_panel="Training",
            help="Who executes the trials: optuna, one after another in this process; ray, on a cluster or on "
            "a local Ray that is started and stopped.",
        ),
    ] = "optuna",
    parallel: Annotated[int, _number("--parallel", "Trials at the same time, with --engine ray.", 1)] = 1,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="<search>",
            rich_help_panel="Training",
            help="Go on with a search: its name or path. With --trials: search longer.",
        ),
    ] = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search settings, and test whether the winner is better than the default or was lucky.

    Each trial is a study of folds. The best one is then trained on other splits, beside the default, and is recommended
    only where it is better beyond the 95 % interval. The same command goes on with a search that was stopped; several
    processes with the same command share its trials.
    """
    with answering(as_json) as answer:
        _check_words(engine, metric, parallel)
        layers = given.layers(quiet=quiet)
        early = check_settings(layers, resumed=resume is not None)
        asked = {"folds": folds, "repeats": repeats, "metric": metric, "confirm": confirm}
        if resume is not None:
            _check_resumed(given, resume, early.runs, {**asked, "space": space})
        else:
            _check_new(early, space, dry_run=dry_run)
        with loading("torch, timm, optuna", quiet=quiet, as_json=as_json):
            _check_libraries(engine)
            if resume is None:
                check_folder(early)
            from ssl_mask.workflows.tune import Engine
            from ssl_mask.workflows.tune import tune as run_search

        executor: Engine = "ray" if engine == "ray" else "optuna"
        told: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        search = run_search(
            resolve(layers), space=space, trials=trials, engine=executor, parallel=parallel, resume=resume,
            dry_run=dry_run, quiet=quiet, **told,
        )  # fmt: skip
        if search is None:
            answer({"search": None, "status": "dry-run"})
            return
        answer({"search": str(search.path), "best": str(search.best), **search.verdict.to_json()})


def _check_words(engine: str, metric: str | None, parallel: int) -> None:
    for flag, value, known in (("--engine", engine, ENGINES), ("--metric", metric, (None, *METRICS))):
        if value not in known:
            raise ConfigError(f"{flag} {value!r} is not known.", hint=f"Known: {', '.join(k for k in known if k)}.")
    if parallel > 1 and engine != "ray":
        raise ConfigError(
            "--parallel needs --engine ray.",
            hint="Without Ray, start the same command several times: the processes share the trials.",
        )


def _check_libraries(engine: str) -> None:
    from ssl_mask.tuning.journal import optuna
    from ssl_mask.tuning.ray_engine import ray

    if engine == "ray":
        ray()  # first: its extra brings Optuna too
    optuna()


def _check_new(early: Any, space: Path | None, *, dry_run: bool) -> None:
    """What can be refused without torch: no space, or one that the configuration does not take."""
    from ssl_mask.tuning.space import parse_space, read_space

    if space is None:
        raise ConfigError("A search needs a space.", hint="Name its file: sslmask tune --space space.yaml")
    parse_space(read_space(space), early, str(space))
    if not dry_run:
        check_folder_to_write(early.runs, "--runs")


def _check_resumed(given: Given, name: str, runs: Path, asked: dict[str, Any]) -> None:
    """Raises ConfigError when the command line asks for other settings than those that the search began with."""
    from ssl_mask.runs.study import resumed_study
    from ssl_mask.runs.trials import TrialStudy

    search = TrialStudy(resumed_study(name, runs, "tune"))
    check_resumed(given, validate(search.study.record().config), search.path, longer=False)
    own = search.settings().to_json()
    for key, value in asked.items():
        if value is not None and key != "space" and own.get(key, value) != value:
            raise ConfigError(
                f"{search.path} has {key} {own[key]}, not {value}.", hint=f"Leave out --{key}, or begin a new search."
            )
    if asked["space"] is not None:
        from ssl_mask.tuning.space import read_space

        if read_space(asked["space"]) != own["space"]:
            raise ConfigError(
                f"{search.path} has another space than {asked['space']}.",
                hint="Leave out --space, or begin a new search.",
            )
