"""Which weights of a backbone train: all, its last stages, low-rank adapters beside them, or none."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ssl_mask.errors import ModelError
from ssl_mask.models.layers import stages
from ssl_mask.models.lora import add_adapters


def tune_backbone(
    net: nn.Module, tuning: str, *, freeze_stages: int, tuned_stages: int, lora_rank: int, lora_targets: Sequence[str]
) -> None:
    """Freeze what does not train, and add the adapters of `lora`. The arguments are the `model` settings.

    Raises:
        ModelError: more stages than the network has, or no layer that takes an adapter.
    """
    if tuning == "full":
        freeze_first(net, freeze_stages, setting=f"freeze_stages is {freeze_stages}")
    elif tuning == "last-n":
        freeze_first(net, len(stages(net)) - tuned_stages, setting=f"tuned_stages is {tuned_stages}")
    else:
        net.requires_grad_(False)
        if tuning == "lora":
            add_adapters(net, rank=lora_rank, targets=lora_targets)


def freeze_first(net: nn.Module, count: int, *, setting: str) -> None:
    """Freeze the first `count` stages of a timm network; 1 is the stem only.

    Args:
        setting: what asks for it, for the message.

    Raises:
        ModelError: more stages than the network has.
    """
    if count == 0:
        return
    found = stages(net)
    if not 0 < count <= len(found):
        raise ModelError(f"model.{setting}, but the backbone has only {len(found)} stages.", hint="Lower it.")
    frozen = {name for stage in found[:count] for name in stage}
    for name, parameter in net.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
