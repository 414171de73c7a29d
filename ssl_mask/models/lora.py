"""Low-rank adaptation (LoRA; Hu et al. 2021, arXiv 2106.09685) of the linear layers of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_mask.errors import ModelError

A, B = "lora_a", "lora_b"


class LoraLinear(nn.Linear):
    """y = x (W + B A)ᵀ + b with W and b frozen (eq. 3; its factor α/r is 1: with Adam it does what the rate does).

    W and b keep their names, so that weights of the plain network fit. B starts at zero: so does the change.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self._parameters.update(base._parameters)  # the attribute `weight` is the property below
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.train(base.training)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(out, in) the adapted weight: some networks of timm read it instead of calling the layer."""
        return self._parameters["weight"] + self.lora_b @ self.lora_a  # type: ignore[operator]

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)"""
        plain = F.linear(input, self._parameters["weight"], self.bias)  # type: ignore[arg-type]
        return plain + F.linear(F.linear(input, self.lora_a), self.lora_b)


def add_adapters(net: nn.Module, *, rank: int, targets: Sequence[str]) -> None:
    """Give the linear layers whose name ends in one of `targets` an adapter.

    Raises:
        ModelError: no linear layer has such a name.
    """
    linear = {name: m for name, m in net.named_modules() if isinstance(m, nn.Linear)}
    chosen = [name for name in linear if any(f".{name}".endswith(f".{target}") for target in targets)]
    if not chosen:
        endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
        ways = f"Set model.lora_targets to some of {', '.join(endings)}, or choose" if endings else "Choose"
        raise ModelError(
            f"model.tuning lora: the backbone has no linear layer whose name ends in {' or '.join(targets)}.",
            hint=f"{ways} model.tuning=last-n.",
        )
    for name in chosen:
        parent, _, own = name.rpartition(".")
        setattr(net.get_submodule(parent), own, LoraLinear(linear[name], rank))


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named tensors of a network, with what its adapters learned added to the weights beside them: of the same network
    without adapters."""
    plain = {name: w for name, w in weights.items() if not is_adapter(name)}
    for name in weights:
        if name.endswith(f".{A}"):
            layer = name.removesuffix(A)
            change = weights[layer + B].float() @ weights[name].float()
            weight = plain[f"{layer}weight"]
            plain[f"{layer}weight"] = (weight.float() + change).to(weight.dtype)
    return plain


def is_adapter(name: str) -> bool:
    """Whether a tensor of this name belongs to an adapter."""
    return name.rsplit(".", 1)[-1] in {A, B}
