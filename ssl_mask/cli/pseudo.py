"""`sslmask pseudo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import FoldFlags, check_folder, check_folder_to_write, check_resumed, check_settings
from ssl_mask.cli.flags import DECLARED, GUARD, TRAINING, UNLABELED, Given, takes
from ssl_mask.cli.options import Engine, EngineOption, Folds, Json, Quiet, Refit, Repeats, check_engine, command
from ssl_mask.cli.output import answering, loading, rounds_answer, run_answer
from ssl_mask.config import resolve, validate
from ssl_mask.errors import ConfigError

app = typer.Typer(add_completion=False)
PSEUDO = (
    "pseudo.rounds", "pseudo.rule", "pseudo.target_precision", "pseudo.threshold", "pseudo.labels",
    "pseudo.teachers", "pseudo.agreement",
    "pseudo.warm_start", "pseudo.group_consistency", "pseudo.from_predictions",
)  # fmt: skip


@command(
    app,
    "sslmask pseudo --unlabeled extra",
    "sslmask pseudo --unlabeled extra --folds 5 --refit",
    "sslmask pseudo --unlabeled extra --config pseudo_soft_laptop --teacher uda-001 --teacher uda-002",
)
@takes(*UNLABELED, *PSEUDO, *TRAINING, *GUARD, *DECLARED, "guard.leaked", shown={"algorithm.name": "supervised"})
def pseudo(
    given: Given,
    audit_answers: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Pseudo-labels",
            help="True labels of the unlabeled images (CSV: image, answer). They are reported, never trained on.",
        ),
    ] = None,
    folds: Folds = None,
    repeats: Repeats = None,
    refit: Refit = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="<run>", rich_help_panel="Training", help="Continue an interrupted run or study: its name or path."
        ),
    ] = None,
    engine: EngineOption = Engine.local,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train in rounds: pseudo-label the unlabeled images, train on them, repeat.

    Round 0 trains on labels only. Each later round predicts the unlabeled images, selects pseudo-labels and trains on
    labels and pseudo-labels. The round with the best validation score is kept.

    With --folds each round is a study of folds. The run of a fold learns from models that have not seen its validation
    images, so the out-of-fold score of every round is honest.
    """
    with answering(as_json) as answer:
        layers = given.layers(quiet=quiet)
        if "pseudo.from_predictions" in given.flags and "pseudo.rounds" not in given.flags:
            layers.append({"pseudo": {"rounds": 1}})  # these predictions serve one round
        early = check_settings(layers, resumed=resume is not None, recipe="pseudo_")
        asked, folded = FoldFlags(folds, repeats, refit), folds is not None
        if resume is not None:
            folded = _check_resumed(given, resume, early.runs, asked)
        else:
            asked.refuse_alone()
            check_folder_to_write(early.runs, "--runs")
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            executor = check_engine(engine)
            if resume is None:
                check_folder(early)
            from ssl_mask.workflows.pseudo import pseudo as run_rounds
            from ssl_mask.workflows.pseudo_folds import pseudo_folds

        settings = resolve(layers, recipe="pseudo_")
        if folded:
            study = pseudo_folds(
                settings, folds=folds or 5, repeats=repeats or 1, refit=refit, resume=resume,
                audit_answers=audit_answers, engine=executor, quiet=quiet,
            )  # fmt: skip
            answer(rounds_answer(study))
        else:
            run = run_rounds(settings, resume=resume, audit_answers=audit_answers, engine=executor, quiet=quiet)
            answer(run_answer(run))


def _check_resumed(given: Given, name: str, runs: Path, asked: FoldFlags) -> bool:
    """Refuse options that would be ignored; returns whether `name` is a study of rounds by folds."""
    from ssl_mask.runs.rounds import RoundStudy
    from ssl_mask.runs.run import RunDir
    from ssl_mask.runs.study import resumed_study

    study = resumed_study(name, runs, "pseudo")
    if study.path != study.home:
        asked.refuse_alone()
        if asked.folds is not None:
            raise ConfigError(f"{name} has no folds.", hint="Begin a study of folds: leave out --resume.")
        check_resumed(given, RunDir(study.home).config(), study.home, longer=False)
        return False
    if study.record().kind != "rounds":
        whole = study.path.parents[1]
        raise ConfigError(f"{name} is a round of {whole}.", hint=f"Continue with: sslmask pseudo --resume {whole}")
    check_resumed(given, validate(study.record().config), study.path, longer=False)
    asked.refuse_others(RoundStudy(study).settings(), study.path)
    return True
