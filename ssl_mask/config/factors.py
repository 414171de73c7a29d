"""Settings of the models of single factors: the common ones, with those of `factors.<name>` over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ssl_mask.config.data import DataConfig
from ssl_mask.config.run import RunConfig
from ssl_mask.config.tree import merge, settle_length

OWN_DATA = {"resize", "pseudo_labels", "cache"}
"""All other `data` settings decide which images there are and how they are split: the same for all factors."""
COMMON = {"preset", "runs", "name", "pseudo", "guard", "factors", "factor_prior"}


def factor_tree(config: RunConfig, name: str) -> dict[str, Any]:
    """The settings of one factor's model, not validated."""
    own, common = config.factors.get(name, {}), config.model_dump(mode="json")
    common |= {"factors": {}, "factor_prior": "off", "data": {**common["data"], "factor": name}}
    return merge(settle_length(common, own), own)


def factor_config(config: RunConfig, name: str) -> RunConfig:
    """The configuration of one factor's model, from a validated one."""
    return RunConfig.model_validate(factor_tree(config, name))


def common_keys(own: Mapping[str, Any]) -> Iterator[str]:
    """Keys in the settings of one factor that can only be set for all."""
    yield from (key for key in own if key in COMMON)
    data = own.get("data")
    if isinstance(data, Mapping):
        yield from (f"data.{key}" for key in data if key in DataConfig.model_fields.keys() - OWN_DATA)
