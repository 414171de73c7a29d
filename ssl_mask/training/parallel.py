"""What a network needs to train on several processes as it trains on one: shared batch norms, no idle weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_mask.config import RunConfig
from ssl_mask.errors import ConfigError
from ssl_mask.models.classifier import Classifier
from ssl_mask.models.lean_timm import convert_sync_batchnorm


def refuse_single_images(config: RunConfig, model: Classifier, processes: int) -> None:
    """Raise ConfigError where batch norm of the backbone, or of one process, would have to train on a single image.

    Args:
        model: in training mode, which batch norms that are frozen do not follow.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.training:
            room = name.split(".")[0]
            norm = f"model.{room} {getattr(config.model, room)}"
            problem = config.single_images(norm, 1 if config.model.sync_norm else processes)
            if problem:
                hint = "Raise train.batch_size, or lower train.accumulate."
                raise ConfigError(f"{problem}.", hint=hint)


def freeze_unused(model: Classifier, size: int) -> None:
    """Freeze the weights that the output does not depend on, such as a norm after the backbone's own pooling when
    another pooling is used: other processes would wait for their gradients.

    Args:
        size: width and height of the images in pixels.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    logits = model(torch.zeros(1, size, size, 3, dtype=torch.uint8, device=trained[0].device))
    gradients = torch.autograd.grad(sum(z.sum() for z in logits.values()), trained, allow_unused=True)
    model.train()
    for parameter, gradient in zip(trained, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)


def share_norms(model: nn.Module, device: torch.device) -> None:
    """Make all batch norms share their statistics in training: those of all processes together.

    PyTorch's own conversion drops the activation of timm's batch norms, so it is timm's. Their kernels are for GPUs
    only; on a CPU, where several processes are a rehearsal of several GPUs, `SharedNorm` computes the same.
    """
    if device.type != "cpu":
        convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SharedNorm


def share_buffers(model: nn.Module) -> None:
    """Give all processes the batch-norm statistics of the first one, which saves them: they differ where not shared."""
    for buffer in model.buffers():
        dist.broadcast(buffer, src=0)


class SharedNorm(_BatchNorm):
    """Batch norm over all processes in plain tensor operations, with the activation of timm's where it has one."""

    def forward(self, input: Tensor) -> Tensor:
        x = self._shared(input) if self.training else super().forward(input)
        for name in ("drop", "act"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x

    def _check_input_dim(self, input: Tensor) -> None:
        """Any: the module was of the right kind before."""

    def _shared(self, x: Tensor) -> Tensor:
        over = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x.to(torch.promote_types(x.dtype, torch.float32))  # also under autocast
        # Processes may have different numbers of images: those with strong views.
        sums = _Sum.apply(torch.cat([values.sum(over), values.new_tensor([x.numel() / x.shape[1]])]))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(over)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale, shift = self.weight, self.bias
        unit = centred * (variance + self.eps).rsqrt().view(shape)
        scaled: Tensor = unit if scale is None else unit * scale.view(shape) + shift.view(shape)
        return scaled.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """The sum over processes. What one process adds changes the loss of all, so the gradient is a sum too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    value = value.clone()
    dist.all_reduce(value)
    return value
