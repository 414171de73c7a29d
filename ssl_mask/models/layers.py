"""The order of a timm network's layers, from its stem upwards."""

from __future__ import annotations

from torch import nn

from ssl_mask.models.lean_timm import group_with_matcher

_ABOVE = "(above)"


def stages(net: nn.Module) -> list[list[str]]:
    """The names of the parameters of each stage: the stem, then the stages (of a transformer, its blocks).

    What stands above the last stage, such as a norm or an attention after the pooling, belongs to none.
    """
    groups, above = _groups(net, coarse=True)
    return [groups[number] for number in sorted(groups) if number != above]


def depths(net: nn.Module) -> dict[str, int]:
    """How many layers each parameter is below the heads: 0 for what is above all layers, 1 for the last layer, ….

    The layers are timm's fine ones, as in its `param_groups_layer_decay`, for a network with a classifier on top.
    """
    groups, above = _groups(net, coarse=False)
    return {name: above - number for number, names in groups.items() for name in names}


def _groups(net: nn.Module, *, coarse: bool) -> tuple[dict[int, list[str]], int]:
    """timm's groups of parameters, numbered from the stem, and the number of the group above all layers.

    timm puts what belongs to no layer, such as a classifier, into a last group. Networks are made without a classifier
    here and may have no such parameter; so a name is added that belongs to no layer and shows the group's number.
    """
    named = [*net.named_parameters(), (_ABOVE, None)]
    groups: dict[int, list[str]] = group_with_matcher(named, net.group_matcher(coarse=coarse))  # type: ignore[operator]
    return groups, next(number for number, names in groups.items() if _ABOVE in names)
