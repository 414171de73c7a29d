"""What all consistency algorithms share: weak pass, targets, strong pass, loss.

We compute only what counts. The weak views go first, without gradient. Then only the images whose target counts get a
strong view and a forward and backward pass, together with the labeled images. On networks without batch norm the
gradient is the same as if all images had a strong view (`dense`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_mask.algorithms.described import described
from ssl_mask.algorithms.mixing import Mixed
from ssl_mask.algorithms.rule import Rule, Seen
from ssl_mask.algorithms.running import Alignment
from ssl_mask.algorithms.supervised import Supervised, share_right
from ssl_mask.algorithms.targets import Targets
from ssl_mask.losses.consistency import annealing_threshold, kl_divergence
from ssl_mask.models.joint import calibrated, joint_log_probs
from ssl_mask.selection.collapse import collapsed
from ssl_mask.types import (
    Algorithm,
    Averaging,
    Batch,
    Evaluated,
    HeadTensors,
    Labeled,
    Losses,
    Unlabeled,
    one_process,
)


@dataclass
class Consistency(Algorithm):
    """Supervised loss plus λ · (1/|U|) Σ_i w_i · KL(target_i ‖ strong_i), the mean over **all** unlabeled images."""

    supervised: Supervised
    teacher: nn.Module
    """The network that makes the targets: the live one (without its wrapper for several processes), or its average."""
    rule: Rule
    weight: float = 1.0
    """λ, the weight of the consistency loss."""
    start: float = 0.0
    """Share of training, in [0, 1), before the consistency loss starts."""
    ramp_up: float = 0.0
    """Share of training over which λ then rises linearly from 0; 0: at once."""
    joint: bool = False
    """One target per image: heads are folded into one distribution over their product."""
    tsa: str = "off"
    """Kind of `annealing_threshold` for the labeled images, or `off`."""
    temperatures: dict[str, float] = field(default_factory=dict)
    """Temperature per head, which divides its logits; 1 for a head that is not here."""
    calibrates: bool = True
    """Use the temperatures that are fitted after each evaluation."""
    alignment: Alignment | None = None
    """Distribution alignment of the weak predictions; None: none."""
    dense: bool = False
    """Give every image a strong view, also those whose target does not count."""
    weak_training_mode: bool = False
    """Run the weak pass in training mode (dropout, batch statistics) instead of evaluation mode."""
    teacher_weights: str = "live"
    """Which weights the teacher has: `live` or `ema`."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names of each distribution that has targets: the heads, or `joint`."""
    labeled: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """(classes,) number of labeled images of each class, of the same distributions."""
    mean: Averaging = one_process
    """The mean over all processes."""
    warned: set[str] = field(default_factory=set)
    """Distributions that `warnings` has warned about."""

    def losses(self, model: nn.Module, batch: Batch, progress: float) -> Losses:
        """Supervised terms per head and `consistency`; stats: mask rates, confidences, shares per class."""
        mixed, strength = self.supervised.mixing(batch.labeled), self.strength(progress)
        images = mixed.images
        if batch.unlabeled is None or strength == 0.0:
            terms, stats = self._labeled(model(images), mixed, progress)
            return Losses({**terms, "consistency": images.new_zeros((), dtype=torch.float32)}, stats)
        weak = self._weak(batch.unlabeled, batch.labeled)
        targets = self.rule.targets(weak)
        rows = self._rows(targets)
        # One forward pass for both: each process makes exactly one per step, however many rows it has.
        views = batch.unlabeled.strong(rows.cpu()).to(images.device, non_blocking=True)
        logits = model(torch.cat([images, views]))
        terms, stats = self._labeled({k: z[: len(images)] for k, z in logits.items()}, mixed, progress)
        strong, own = self.fold({k: z[len(images) :] for k, z in logits.items()}), targets.at(rows)
        count = len(batch.unlabeled.weak)
        terms["consistency"] = strength * consistency_loss(strong, own, count)
        extra = self.rule.extra_loss(strong, own, self.mean)
        if extra is not None:
            terms["extra"] = extra
        stats["kept"] = images.new_tensor(len(rows) / count, dtype=torch.float32)
        return Losses(terms, stats | described(weak, targets))

    @property
    def waits(self) -> bool:
        """An averaged teacher gives targets once it was calibrated: its confidences mean nothing before."""
        return self.teacher_weights == "ema" and self.calibrates and not self.temperatures

    def strength(self, progress: float) -> float:
        """λ at `progress` in [0, 1]."""
        if progress < self.start or self.waits:
            return 0.0
        return self.weight * (1.0 if self.ramp_up == 0 else min((progress - self.start) / self.ramp_up, 1.0))

    def fold(self, logits: HeadTensors) -> dict[str, Tensor]:
        """(n, classes) calibrated logits, from which targets are made: per head, or `joint` over their product."""
        divided = calibrated(logits, self.temperatures)
        return {"joint": joint_log_probs(divided)} if self.joint else divided

    def evaluated(self, validation: Evaluated) -> dict[str, dict[str, float]]:
        """Use the new temperatures; returns how many validation images would count as targets, and how many are right.

        Returns:
            `pseudo_share`, the share of validation images whose target counts, and `pseudo_precision`, the share of
            these whose target is the true class; both in [0, 1], per head.
        """
        self.calibrate(validation.temperatures)
        targets = self.targets(validation.logits)
        share, precision = {}, {}
        for name, weights in targets.weights.items():
            weight = weights.cpu().numpy()
            right = targets.probs[name].argmax(dim=1).cpu().numpy() == validation.labels[name].numpy()
            share[name] = round(float(weight.mean()), 4)
            precision[name] = round(float((weight * right).sum() / max(weight.sum(), 1e-9)), 4)
        return {"pseudo_share": share, "pseudo_precision": precision}

    def calibrate(self, temperatures: Mapping[str, float]) -> None:
        """Divide logits by these temperatures from now on, unless the configuration fixes them."""
        if self.calibrates:
            self.temperatures = dict(temperatures)

    def targets(self, logits: HeadTensors) -> Targets:
        """Targets of images that are not trained on, such as validation images. Changes no statistics."""
        return self.rule.targets(self._aligned(self.fold(logits)))

    def warnings(self, recent: Sequence[Mapping[str, Sequence[float]]]) -> list[str]:
        """Warn of a collapse: the targets that count are of few classes only. Once per distribution."""
        found = []
        for name, labeled in self.labeled.items():
            seen = [np.asarray(stats[f"selected/{name}"]) for stats in recent if f"selected/{name}" in stats]
            if not seen or name in self.warned:
                continue
            selected = np.mean(seen, axis=0)
            if collapsed(selected, labeled):
                self.warned.add(name)
                most = self.classes[name][int(selected.argmax())]
                found.append(
                    f"The targets of {name} fall on few classes ({selected.max() / selected.sum():.0%} on {most!r}). "
                    "Lower algorithm.threshold, set algorithm.alignment=prior, or try --algorithm freematch."
                )
        return found

    def state_dict(self) -> dict[str, Tensor]:
        state = {f"temperature/{k}": torch.tensor(v, dtype=torch.float64) for k, v in self.temperatures.items()}
        state |= {f"rule/{k}": v for k, v in self.rule.running.values.items()}
        aligned = self.alignment.running.values if self.alignment is not None else {}
        return state | {f"alignment/{k}": v for k, v in aligned.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.temperatures = {k: float(v) for k, v in under("temperature/").items()}
        self.rule.running.values = under("rule/")
        if self.alignment is not None:
            self.alignment.running.values = under("alignment/")

    # ---- the steps of `losses` ----

    def _weak(self, unlabeled: Unlabeled, labeled: Labeled) -> dict[str, Tensor]:
        images, count = unlabeled.weak, len(unlabeled.weak)
        if self.rule.needs_labeled:
            images = torch.cat([images, labeled.images])
        with torch.no_grad(), mode_of(self.teacher, training=self.weak_training_mode):
            every = self.fold(self.teacher(images))
        # Autocast caches the weights that it casts. These have no gradient: the strong pass must not reuse them.
        torch.clear_autocast_cache()
        logits = {name: z[:count] for name, z in every.items()}
        if self.alignment is not None:
            self.alignment.observe(logits, self.mean)
        aligned = self._aligned(logits)
        self.rule.observe(Seen(aligned, unlabeled.rows, {name: z[count:] for name, z in every.items()}), self.mean)
        return aligned

    def _aligned(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        return logits if self.alignment is None else self.alignment.shifted(logits)

    def _rows(self, targets: Targets) -> Tensor:
        """Positions of the images that get a strong view."""
        counts = torch.stack(list(targets.weights.values())).amax(dim=0) > 0
        return torch.arange(len(counts), device=counts.device) if self.dense else counts.nonzero()[:, 0]

    def _labeled(
        self, logits: HeadTensors, mixed: Mixed, progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        losses = self.supervised.per_image(logits, mixed)
        stats = {"train_accuracy": share_right(logits, mixed)}
        if self.tsa == "off":
            return {name: each.mean() for name, each in losses.items()}, stats
        kept = self._below_annealing(logits, mixed, progress)
        terms: dict[str, Tensor] = {}
        for name, each in losses.items():
            share = kept[name].float()
            # Divided by the mean over processes: gradients are averaged over them, and each keeps another number.
            average = self.mean(share.sum())
            terms[name] = (each * share).sum() / average.clamp_min(1e-6)
            stats[f"tsa_kept/{name}"] = share.mean()
        return terms, stats

    def _below_annealing(self, logits: HeadTensors, mixed: Mixed, progress: float) -> dict[str, Tensor]:
        """(n,) bool per head: whether the calibrated, margin-free p of the true class is below the threshold.

        Of mixed images: the mean over their labels, by their shares.
        """
        with torch.no_grad():
            divided = calibrated(logits, self.temperatures)
            each = [(share, self._true_probs(divided, labeled.labels)) for share, labeled in mixed.parts]
            below = {}
            for name, z in divided.items():
                p = torch.stack([share * probs[name] for share, probs in each]).sum(dim=0)
                classes = math.prod(h.shape[1] for h in divided.values()) if self.joint else z.shape[1]
                below[name] = p < annealing_threshold(self.tsa, progress, classes)
        return below

    def _true_probs(self, divided: HeadTensors, labels: Tensor) -> dict[str, Tensor]:
        """(n,) p of the true class per head; the same for all, that of the true combination, if targets are joint."""
        log_p = {
            name: F.log_softmax(z, dim=1).gather(1, labels[:, i, None])[:, 0]
            for i, (name, z) in enumerate(divided.items())
        }
        if self.joint:
            return dict.fromkeys(log_p, torch.stack(list(log_p.values())).sum(dim=0).exp())
        return {name: p.exp() for name, p in log_p.items()}


def consistency_loss(strong: HeadTensors, targets: Targets, count: int) -> Tensor:
    """(1/count) Σ_i Σ_heads w_i · KL(target_i ‖ softmax(strong_i)).

    Args:
        strong: (k, classes) calibrated logits per head of the images with a strong view; k may be 0.
        targets: of the same images.
        count: number of all unlabeled images of the batch, also those without a strong view.

    Returns:
        a scalar ≥ 0, up to rounding.
    """
    each = [(targets.weights[k] * kl_divergence(targets.probs[k], z)).sum() for k, z in strong.items()]
    return torch.stack(each).sum() / count


@contextmanager
def mode_of(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put the network into training or evaluation mode, and back at the end of the `with` block."""
    before = model.training
    if before != training:
        model.train(training)
    try:
        yield
    finally:
        if before != training:
            model.train(before)
