"""An evaluation in the middle of training: score live and averaged weights on validation, keep the best."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ssl_mask.config import TrainConfig
from ssl_mask.data.predictions import write_predictions
from ssl_mask.evaluation.scores import HeadLogits, Scores, mean_probs, score
from ssl_mask.inference.logits import predict_logits, reading_workers
from ssl_mask.runs import environment
from ssl_mask.runs.checkpoint import save_checkpoint
from ssl_mask.runs.records import BestScore, CheckpointMetadata, LastStep, leakage_of
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.writer import RunWriter
from ssl_mask.training.parallel import share_buffers
from ssl_mask.training.record import data_record
from ssl_mask.training.session import Session
from ssl_mask.types import Evaluated

EVALUATIONS = 10
"""At most, where `train.eval_every` is not set."""
TRAINING_COST = 3
"""A training step costs about this many times a forward pass of its images: forward and backward."""

Results = dict[str, tuple[Scores, HeadLogits]]


def steps_between_evaluations(session: Session) -> int:
    """`train.eval_every`; not set: ten evaluations per run, or fewer, so that they take about a third of the time."""
    return evaluation_interval(session.config.train, session.training.steps, len(session.data.val))


def evaluation_interval(config: TrainConfig, steps: int, images: int) -> int:
    """As `steps_between_evaluations`, of a run of so many steps with so many validation images."""
    if config.eval_every is not None:
        return config.eval_every
    copies = 2 if config.ema_decay > 0 else 1
    affordable = steps * config.images_per_step * TRAINING_COST // (2 * copies * max(1, images))
    return max(1, steps // max(1, min(EVALUATIONS, affordable)))


def evaluate(session: Session, run: RunWriter) -> bool:
    """Score live and averaged weights on validation; keep the best. True when patience has run out."""
    training, progress, step = session.training, session.progress, session.progress.step
    candidates = weights_of(session)
    results = _score(session, candidates)
    told = {training.algorithm.teacher_weights: training.algorithm.evaluated(_evaluated(session, results))}
    kind = max(results, key=lambda k: results[k][0].macro_f1)
    scores, logits = results[kind]
    better = progress.best is None or scores.macro_f1 > progress.best.macro_f1
    progress.waited = 0 if better else progress.waited + 1
    training.schedule.scored(scores.macro_f1)
    best = BestScore.model_validate({"step": step, "weights": kind, **scores._asdict()})
    if better:
        progress.best = best
    for name, (own, own_logits) in results.items():
        cpu = round(progress.cpu, 2)
        run.log(kind="val", step=step, weights=name, cpu_seconds=cpu, **own._asdict(), **told.get(name, {}))
        if session.config.train.keep == "all":
            found = BestScore.model_validate({"step": step, "weights": name, **own._asdict()})
            run.write(partial(keep_one, session, candidates[name], found, own_logits))
    if better:
        run.write(partial(keep_best, session, candidates[kind], best, logits))
    session.console.say(_validation_line(step, results, better=better))
    run.write(partial(_warn, session))
    return bool(progress.waited >= session.config.train.patience)


def weights_of(session: Session) -> dict[str, nn.Module]:
    """The trained weights and, where there is one, their average; the same in all processes, which must all call it."""
    found = {"live": session.training.live}
    if session.training.ema is not None:
        found["ema"] = session.training.ema.module
    if session.accelerator.num_processes > 1:
        for model in found.values():
            share_buffers(model)
    return found


def _score(session: Session, candidates: dict[str, nn.Module]) -> Results:
    """Scores and logits of each set of weights."""
    rows, schema, target = session.data.val.manifest, session.data.manifest.schema, session.config.data.target
    batch_size = max(64, session.config.train.images_per_step // int(session.accelerator.num_processes))
    images = session.inputs.val
    workers = reading_workers(images, session.config.train.workers, session.accelerator)
    results: Results = {}
    for kind, model in candidates.items():
        with session.console.counting(f"Evaluating {kind} weights") as tell:
            (logits,) = predict_logits(
                model, images, accelerator=session.accelerator, batch_size=batch_size, workers=workers, on_progress=tell
            )  # fmt: skip
        results[kind] = (
            score(logits, schema.head_labels(rows.labels, target), rows.joint, len(schema.joint_classes)), logits
        )  # fmt: skip
    return results


def _evaluated(session: Session, results: Results) -> Evaluated:
    """What the algorithm is told: the evaluation of the weights that it names."""
    scores, logits = results[session.training.algorithm.teacher_weights]
    rows, schema = session.data.val.manifest, session.data.manifest.schema
    labels = schema.head_labels(rows.labels, session.config.data.target)
    columns = {name: labels[:, i] for i, name in enumerate(logits)} | {"joint": rows.joint}
    device = session.accelerator.device
    return Evaluated(
        scores.temperatures,
        {k: torch.from_numpy(z).to(device) for k, z in logits.items()},
        {k: torch.from_numpy(np.ascontiguousarray(c)) for k, c in columns.items()},
    )


def _warn(session: Session, run: RunDir) -> None:
    step = session.progress.step
    recent = [r["stats"] for r in run.records() if r["kind"] == "train" and r["step"] > step * 0.8]
    for text in session.training.algorithm.warnings(recent):
        session.console.warn(text)


def _validation_line(step: int, results: Results, *, better: bool) -> str:
    parts = [f"{k} macro-F1 {s.macro_f1:.3f} accuracy {s.accuracy:.3f}" for k, (s, _) in results.items()]
    return f"  step {step:>6}  " + "  |  ".join(parts) + ("  * best" if better else "")


def keep_best(session: Session, model: nn.Module, best: BestScore, logits: HeadLogits, run: RunDir) -> None:
    """Write the best weights and their predictions of the validation images."""
    _keep(session, model, best, logits, run, run.best, run.validation)
    run.update(best=best)


def keep_one(session: Session, model: nn.Module, found: BestScore, logits: HeadLogits, run: RunDir) -> None:
    """Write the weights of one evaluation and their predictions of the validation images beside those of the others."""
    kept = run.kept(found.step, found.weights)
    _keep(session, model, found, logits, run, kept.weights, kept.validation)


def _keep(
    session: Session, model: nn.Module, found: BestScore, logits: HeadLogits, run: RunDir, weights: Path,
    validation: Path,
) -> None:  # fmt: skip
    save_checkpoint(weights, model, _metadata(session, run, found.temperatures, best=found))
    probs = mean_probs([logits], found.temperatures)
    write_predictions(validation, session.data.val.manifest, probs, fold=session.config.data.fold)


def keep_last(session: Session, run: RunWriter) -> None:
    """Write the weights of the last step, which no validation has selected; their logits are not calibrated."""
    models = weights_of(session)
    kind = session.config.train.last_weights if session.training.ema is not None else "live"
    temperatures = dict.fromkeys(session.data.manifest.schema.heads(session.config.data.target), 1.0)
    last = LastStep(step=session.progress.step, weights=kind)

    def write(folder: RunDir) -> None:
        save_checkpoint(folder.best, models[kind], _metadata(session, folder, temperatures, last=last))

    run.write(write)


def _metadata(
    session: Session, run: RunDir, temperatures: Mapping[str, float], *, best: BestScore | None = None,
    last: LastStep | None = None,
) -> CheckpointMetadata:  # fmt: skip
    config, data, schema = session.config, session.data, session.data.manifest.schema
    return CheckpointMetadata(
        model=config.model,
        image_size=session.size,
        schema=schema,
        target=config.data.target,
        resize=config.data.resize,
        depth=config.data.depth,
        submission=data.manifest.submission,
        temperatures=temperatures,
        best=best,
        **({} if last is None else {"last": last}),
        prior=np.bincount(data.train.manifest.joint, minlength=len(schema.joint_classes)).tolist(),
        data=data_record(config, data),
        run=run.name,
        code=environment.code_version(),
        **dict(leakage_of(run.status())),
    )
