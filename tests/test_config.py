"""Configuration: what is refused and how it is said, which layer wins, and that every field is described."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from ssl_mask.config import (
    RunConfig,
    load_config,
    merge,
    nest,
    parse_assignments,
    read_config_file,
    resolve,
    to_yaml,
    validate,
)
from ssl_mask.config.load import configs_folder
from ssl_mask.errors import ConfigError

SHIPPED = sorted(configs_folder().glob("*.yaml"))


def settle(*layers: dict[str, Any], gpu: bool = False) -> RunConfig:
    return resolve(layers, has_gpu=lambda: gpu)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"optim": {"learning_rat": 1}, "seeed": 1}, "seeed: no such key. Did you mean 'seed'?"),
        ({"optim": {"weight_decy": 1}}, "optim.weight_decy: no such key. Did you mean 'weight_decay'?"),
        ({"optim": {"lr": "fast"}}, "optim.lr: "),
        ({"optim": {"lr": "fast"}}, "(got 'fast')"),
        ({"optim": {"lr": float("inf")}}, "optim.lr: "),
        ({"train": {"batch_size": 2.5}}, "train.batch_size: "),
        ({"train": {"steps": 1, "epochs": 1}}, "train: set steps or epochs, not both"),
        ({"train": {"batch_size": 10, "accumulate": 4}}, "train: batch_size 10 is not a multiple of accumulate 4"),
        ({"data": {"folds": 3, "fold": 3}}, "data: fold must be below folds (3), got 3"),
        ({"optim": 3}, "optim: "),
        ({"name": "../up"}, "name: "),
    ],
)
def test_a_problem_is_named_with_its_key(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate(tree)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        validate({"seed": -1, "optim": {"lr": 0}, "model": {"poolin": "avg"}})
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "seed", "model.poolin", "optim.lr",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("items", "tree"),
    [
        (["optim.lr=3e-4"], {"optim": {"lr": "3e-4"}}),  # YAML 1.1 reads this as text; validation makes it a number
        (["optim.lr=3.0e-4"], {"optim": {"lr": 3.0e-4}}),
        (["seed=1", "seed=2"], {"seed": 2}),
        (["data.fold=1", "data.folds=3"], {"data": {"fold": 1, "folds": 3}}),
        (["loss.smoothing_classes=[a, b]"], {"loss": {"smoothing_classes": ["a", "b"]}}),
        (["name=null"], {"name": None}),
        (["model.weights=a=b.pth"], {"model": {"weights": "a=b.pth"}}),
    ],
)
def test_assignments_are_read_as_yaml(items: list[str], tree: dict[str, Any]) -> None:
    assert parse_assignments(items) == tree


def test_a_rate_in_scientific_notation_is_a_number() -> None:
    assert validate(parse_assignments(["optim.lr=3e-4"])).optim.lr == pytest.approx(0.0003)


def test_off_is_a_word_and_a_no_where_a_boolean_is_asked_for(tmp_path: Path) -> None:
    """YAML 1.1 reads it as False, which no setting with the word `off` takes."""
    items = ["algorithm.tsa=off", "data.cache=off", "guard.mode=off", "augment.flip=off", "model.sync_norm=true"]
    file = tmp_path / "a.yaml"
    file.write_text("".join(f"{i.partition('.')[0]}: {{{i.partition('.')[2].replace('=', ': ')}}}\n" for i in items))
    for tree in (parse_assignments(items), read_config_file(file)):
        config = validate(tree)
        assert (config.algorithm.tsa, config.data.cache, config.guard.mode) == ("off", "off", "off")
        assert config.augment.flip is False
        assert config.model.sync_norm is True


@pytest.mark.parametrize("item", ["optim.lr", "=3", "a=[1"])
def test_a_malformed_assignment_is_refused(item: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--set {item!r}")):
        parse_assignments([item])


@pytest.mark.parametrize("key", ["train.steps.x", "optim.lr.y", "name.x", "data.options.x.y"])
def test_an_assignment_below_a_value_is_a_config_error_or_an_option(key: str) -> None:
    tree = parse_assignments([f"{key}=1"])
    if key.startswith("data.options"):
        assert validate(tree).data.options == {"x": {"y": 1}}
        return
    with pytest.raises(ConfigError, match=re.escape(key.rsplit(".", 1)[0])):
        validate(tree)


def test_merging_is_deep_and_replaces_lists_without_touching_its_inputs() -> None:
    base, over = {"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}, "d": {"e": 2}}
    assert merge(base, over) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1} and nest("a.b", 1) == {"a": {"b": 1}}


def test_later_layers_win_over_earlier_ones_and_both_over_the_preset(tmp_path: Path) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text("seed: 1\noptim: {lr: 0.5, momentum: 0.5}\ntrain: {batch_size: 8}\n")
    found = settle({"preset": str(preset), "seed": 2, "optim": {"lr": 0.1}}, {"seed": 3})
    assert (found.seed, found.optim.lr, found.optim.momentum, found.train.batch_size) == (3, 0.1, 0.5, 8)


@pytest.mark.parametrize(("base", "asked"), [("steps: 300", {"epochs": 2}), ("epochs: 4", {"steps": 10})])
def test_a_given_length_replaces_the_presets(tmp_path: Path, base: str, asked: dict[str, Any]) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text(f"train: {{{base}, batch_size: 8}}\n")
    train = settle({"preset": str(preset), "train": asked}).train
    assert {k: v for k, v in (("steps", train.steps), ("epochs", train.epochs)) if v} == asked
    assert train.batch_size == 8


def test_the_gpu_is_asked_for_only_when_the_preset_is_auto() -> None:
    def asked() -> bool:
        raise AssertionError

    assert resolve([{"preset": "none"}], has_gpu=asked).preset == "none"
    assert settle({}).preset == "laptop"


def test_an_unknown_preset_is_answered_with_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"No config named 'labtop'[\s\S]*'laptop'"):
        settle({"preset": "labtop"})


def test_a_preset_that_is_no_name_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"No config named '3'"):
        settle({"preset": 3})


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", "just text"])
def test_a_config_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_config_file(tmp_path / "bad.yaml")


def test_empty_and_absent_config_files(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_config_file(tmp_path / "empty.yaml") == {}
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        read_config_file(tmp_path / "absent.yaml")


def test_yaml_reads_back_to_an_equal_config() -> None:
    config = load_config(
        {"data": {"root": "faces", "corrections": "fix.csv", "options": {"x": [1]}}, "name": "a-1"},
        {"loss": {"class_weights": {"a": 2.0}, "smoothing_classes": ["a"]}, "model": {"mean": [0.1, 0.2, 0.3]}},
        preset="none",
    )
    assert validate(yaml.safe_load(to_yaml(config))) == config


def fields(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str | None, bool]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
        yield f"{above}{name}", field.description, is_section
        if is_section:
            yield from fields(inner, f"{above}{name}.")  # type: ignore[arg-type]


def test_every_field_is_described() -> None:
    assert [key for key, text, is_section in fields(RunConfig) if not is_section and not text] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_config_validates(path: Path) -> None:
    assert settle(read_config_file(path), {"preset": path.stem}).preset == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_config_says_what_paper_command_time_and_score(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = itertools.takewhile(lambda line: line.startswith("#"), lines)
    keys = [m.group(1) for line in header if (m := re.match(r"# (\w+):\s+\S", line))]
    assert lines[0].startswith("# What:") and keys == ["What", "Paper", "Command", "Time", "Score"]


def test_a_preset_may_stand_on_another() -> None:
    below, above = settle({"preset": "laptop"}), settle({"preset": "uda_laptop"})
    assert above.preset == "uda_laptop"
    assert above.algorithm.name == "uda"
    assert above.model == below.model
    assert above.train == below.train.model_copy(update={"steps": 900})


def test_the_automatic_preset_follows_the_algorithm_and_the_machine() -> None:
    for gpu, machine in ((False, "laptop"), (True, "gpu")):
        assert settle({}, gpu=gpu).preset == machine
        for name in ("uda", "freematch"):
            found = settle({"algorithm": {"name": name}}, gpu=gpu)
            assert (found.preset, found.algorithm.name) == (f"uda_{machine}", name)


def test_a_length_replaces_that_of_every_preset_below(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("preset: laptop\ntrain: {epochs: 3}\n")
    found = settle({"preset": str(tmp_path / "mine.yaml")})
    assert (found.train.steps, found.train.epochs) == (None, 3.0)


def test_settings_that_do_not_go_together_are_a_sentence_without_a_key() -> None:
    with pytest.raises(ConfigError) as refused:
        resolve([{"preset": "none", "train": {"batch_size": 8, "accumulate": 8}}], has_gpu=lambda: False)
    assert refused.value.problem.splitlines()[1] == (
        "  train.batch_size 8 / accumulate 8 leaves 1 image a part; batch norm (model.neck linear-bn) needs 2"
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": {"tuning": "last-n", "freeze_stages": 1}}, "model: tuning last-n says which weights train, and so"),
        ({"model": {"tuning": "lora", "freeze_stages": 1}}, "model: tuning lora says which weights train, and so"),
        ({"model": {"tuning": "probe", "drop_path": 0.1}}, "model: drop_path has no effect with tuning probe"),
        ({"model": {"lora_rank": 4}}, "model: lora_rank belongs to tuning lora, but tuning is full"),
        (
            {"model": {"tuning": "lora", "tuned_stages": 2}},
            "model: tuned_stages belongs to tuning last-n, but tuning is",
        ),
        ({"model": {"tuning": "probe"}, "optim": {"layer_decay": 0.7}}, "optim.layer_decay gives the layers"),
        ({"optim": {"backbone_lr_scale": 0}}, "optim.backbone_lr_scale: .* set model.tuning=probe"),
    ],
)
def test_settings_of_another_tuning_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve([{"preset": "none"}, asked], has_gpu=lambda: False)
    (line,) = refused.value.problem.splitlines()[1:]
    assert re.match(f"  {message}", line)


def test_every_tuning_stands_on_the_laptop_preset_where_it_can() -> None:
    for tuning in ("full", "probe"):
        assert settle({"preset": "laptop", "model": {"tuning": tuning}}).model.tuning == tuning
