"""`sslmask uda --baseline --seeds …`: a run a seed and its labels-only twin, and the difference with its interval.

A semi-supervised figure without its twin says nothing: the unlabeled images may as well have done harm.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list

from ssl_mask import devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.data.predictions import read_predictions
from ssl_mask.errors import InputError, Interrupted
from ssl_mask.evaluation.metrics import paired_bootstrap
from ssl_mask.files import write_json, write_text
from ssl_mask.reports.comparison import comparison_card, comparison_table, verdict_of
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import StudyDir, create_study, find_study
from ssl_mask.workflows.train import train


@dataclass(frozen=True)
class Comparison:
    """A finished study."""

    path: Path
    result: dict[str, Any]
    """As in comparison.json."""


def parse_seeds(text: str | None, seed: int) -> list[int]:
    """`"0,1,2"` as numbers; None is the configuration's own seed.

    Raises:
        InputError: not whole numbers, or one twice.
    """
    if text is None:
        return [seed]
    parts = [p.strip() for p in text.split(",")]
    if not all(p.isdecimal() for p in parts) or len(set(parts)) < len(parts):
        raise InputError(f"--seeds {text!r}: expected different whole numbers, such as 0,1,2.")
    return [int(p) for p in parts]


def compare(
    config: RunConfig,
    *,
    seeds: Sequence[int] = (0,),
    twin: bool = True,
    resume: str | Path | None = None,
    quiet: bool = False,
) -> Comparison:
    """Train a run a seed, and its labels-only twin at equal optimizer steps; report the paired difference.

    Args:
        config: of the semi-supervised runs; `config.name` names the study.
        resume: a study to continue; its own plan counts, finished runs are not redone.

    Raises:
        SslMaskError: any bad input. Interrupted: everything is saved, the message says how to go on.
    """
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    plan: list[Any] = [None]
    if accelerator.is_main_process:
        plan = [_plan(config, seeds, twin, resume)]
    broadcast_object_list(plan)  # every process does the same runs, whatever it sees on the disk by then
    study, members = StudyDir(Path(plan[0]["path"])), plan[0]["members"]
    console.say(f"Study  {study.path}: {len(members)} runs")
    try:
        for member in members:
            if member["state"] != "finished":
                console.say(f"\n{member['config']['name']}", style="bold")
                train(
                    validate(member["config"]),
                    resume=study.run(member["config"]["name"]).path if member["state"] == "begun" else None,
                    quiet=quiet,
                )
    except Interrupted as stopped:
        hint = f"Continue with: sslmask uda --resume {study.path}"
        raise Interrupted(stopped.problem, signal_number=stopped.exit_code - 128, hint=hint) from None
    result = _report(study, plan[0], console) if accelerator.is_main_process else {}
    return Comparison(study.path, result)


def _plan(config: RunConfig, seeds: Sequence[int], twin: bool, resume: str | Path | None) -> dict[str, Any]:
    """The study's folder and its runs, each with what is done of it. The twin goes first: `latest` is the other."""
    if resume is not None:
        found = find_study(resume, config.runs)
        if found is None:
            raise InputError(f"{resume} is not a study.", hint="Resume a single run without --baseline and --seeds.")
        study, stored = found, json.loads(found.plan.read_text(encoding="utf-8"))
        config, seeds, twin = validate(stored["config"]), stored["seeds"], stored["twin"]
    else:
        study = create_study(config, {"seeds": list(seeds), "twin": twin})
    members: list[dict[str, Any]] = []
    for seed in seeds:
        tree = config.model_dump(mode="json") | {"seed": seed, "runs": str(study.path), "name": f"seed-{seed}"}
        labels_only = {**tree, "name": baseline_name(seed), "algorithm": {**tree["algorithm"], "name": "supervised"}}
        members += [labels_only, tree] if twin else [tree]
    return {
        "path": str(study.path),
        "seeds": list(seeds),
        "twin": twin,
        "members": [{"config": tree, "state": _state(study.run(tree["name"]))} for tree in members],
    }


def baseline_name(seed: int) -> str:
    return f"seed-{seed}-labels-only"


def _state(run: RunDir) -> str:
    if not run.status_file.is_file():
        return "new"
    if run.status().status == "finished":
        return "finished"
    if run.last.is_file():
        return "begun"
    raise InputError(
        f"{run.path} stopped before its first save.", hint=f"Delete that folder and resume {run.path.parent}."
    )


def _report(study: StudyDir, plan: dict[str, Any], console: Console) -> dict[str, Any]:
    """Write comparison.json and .md, and put the comparison on the run cards."""
    rows = [_row(study, seed, twin=plan["twin"]) for seed in plan["seeds"]]
    result: dict[str, Any] = {"rows": rows}
    if plan["twin"]:
        result["difference"] = _difference(study, plan["seeds"])
    write_json(study.comparison, result)
    write_text(study.card, comparison_card(study.path.name, result))
    for seed in plan["seeds"] if plan["twin"] else ():
        run = study.run(f"seed-{seed}")
        run.update(comparison=result)
        write_text(run.card, run_card(run))
    console.rich.print(comparison_table(result))
    if "difference" in result:
        console.say(" ".join(verdict_of(result["difference"])))
    console.say(f"Saved  {study.path}  (read {study.card.name}; next: sslmask predict --run {study.path}/seed-…)")
    return result


def _row(study: StudyDir, seed: int, *, twin: bool) -> dict[str, Any]:
    """Scores of a seed; with a twin also what the run had reached when it had used the twin's CPU time."""
    run = study.run(f"seed-{seed}")
    row: dict[str, Any] = {"seed": seed, "ours": _scores(run)}
    if twin:
        row["labels_only"] = _scores(study.run(baseline_name(seed)))
        limit = row["labels_only"]["cpu_seconds"]
        reached = [r for r in run.records() if r["kind"] == "val" and r["cpu_seconds"] <= limit]
        best = max(reached, key=lambda r: float(r["macro_f1"]), default=None)
        row["ours_at_equal_cpu"] = best and {k: best[k] for k in ("macro_f1", "accuracy", "step", "cpu_seconds")}
    return row


def _scores(run: RunDir) -> dict[str, Any]:
    cpu = max(r["cpu_seconds"] for r in run.records() if r["kind"] == "val")
    return {**run.scores().model_dump(include={"macro_f1", "accuracy", "step", "weights"}), "cpu_seconds": cpu}


def _difference(study: StudyDir, seeds: Sequence[int]) -> dict[str, Any]:
    """Ours less labels-only on validation, averaged over seeds, with a 95 % interval by group."""
    ours = [read_predictions(study.run(f"seed-{s}").validation) for s in seeds]
    twins = [read_predictions(study.run(baseline_name(s)).validation) for s in seeds]
    first = ours[0]
    intervals = paired_bootstrap(
        first.true,
        np.stack([t.predicted for t in twins]),
        np.stack([t.predicted for t in ours]),
        first.group,
        len(first.classes),
    )
    return {key: interval._asdict() for key, interval in intervals.items()}
