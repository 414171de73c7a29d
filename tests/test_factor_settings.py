"""Settings of single factors: over the common ones, refused with their key, and never what all must share."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ssl_mask.config import factor_config, parse_assignments, resolve, to_yaml, validate
from ssl_mask.config.yaml import parse_yaml
from ssl_mask.errors import ConfigError


def test_a_factor_has_the_common_settings_but_for_its_own() -> None:
    tree = {"seed": 3, "loss": {"margin": 0.1}, "train": {"steps": 50}, "data": {"folds": 4}}
    config = validate({**tree, "factors": {"hue": {"loss": {"margin": 0.3}, "train": {"epochs": 2}}, "size": None}})
    hue, size, other = (factor_config(config, name) for name in ("hue", "size", "other"))
    assert (hue.loss.margin, hue.train.steps, hue.train.epochs, hue.seed) == (0.3, None, 2, 3)
    assert (size.loss.margin, size.train.steps) == (other.loss.margin, other.train.steps) == (0.1, 50)
    assert [c.data.factor for c in (hue, size, other)] == ["hue", "size", "other"]
    assert hue.factors == {} and hue.data.folds == 4
    assert hue == validate({**tree, "train": {"epochs": 2}, "loss": {"margin": 0.3}, "data": {**hue.data.model_dump()}})


def test_flags_of_a_factor_are_laid_over_those_of_files_and_are_kept_in_the_configuration() -> None:
    files = {"preset": "none", "factors": {"hue": {"loss": {"margin": 0.3}, "augment": {"preset": "strong"}}}}
    given = parse_assignments(["factors.hue.loss.margin=0.4", "factors.size.train.sampler=balanced"])
    config = resolve([files, given])
    assert config.factors == {
        "hue": {"loss": {"margin": 0.4}, "augment": {"preset": "strong"}}, "size": {"train": {"sampler": "balanced"}}
    }  # fmt: skip
    assert validate(parse_yaml(to_yaml(config))) == config


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"loss": {"margn": 1}}, "factors.hue.loss.margn: no such key. Did you mean 'margin'?"),
        ({"seeed": 1}, "factors.hue.seeed: no such key. Did you mean 'seed'?"),
        ({"train": {"steps": -1}}, "factors.hue.train.steps: "),
        ({"train": {"steps": 1, "epochs": 1}}, "factors.hue.train: set steps or epochs, not both"),
        ({"train": {"batch_size": 1}}, "factors.hue: train.batch_size 1 "),
        ({"data": 3}, "factors.hue.data: "),
        (3, "factors.hue: "),
        *(
            ({"data": {key: 1}}, f"factors.hue.data.{key}: this setting is the same for all factors. Set data.{key} ")
            for key in ("root", "split_seed", "folds", "fold", "unlabeled", "factor", "corrections", "labeled_groups")
        ),
        *(
            ({key: "x"}, f"factors.hue.{key}: this setting is the same for all factors. Set {key} ")
            for key in ("runs", "name", "preset", "guard", "factors")
        ),
    ],
)
def test_wrong_settings_of_a_factor_are_named_with_their_key(own: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate({"factors": {"hue": own}})


def test_all_problems_of_all_factors_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        validate({"factors": {"hue": {"loss": {"margn": 1}, "seed": -1}, "size": {"name": "a"}}})
    told = [line.split(": ")[0].strip() for line in caught.value.problem.splitlines()[1:]]
    assert told == ["factors.hue.seed", "factors.hue.loss.margn", "factors.size.name"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"factors": {"hue": {}}, "data": {"target": "joint"}}, "data.target joint"),
        ({"factors": {"hue": {}}, "data": {"factor": "hue"}}, "data.factor"),
        ({"factor_prior": "oof"}, "factors names none"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate(tree)
