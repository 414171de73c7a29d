"""Flags are declared once, from the settings that they set; verbs are listed without being imported."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from typer.core import TyperCommand, TyperGroup, TyperOption

from ssl_mask.cli.flags import FROM_PRESET, PANELS, Given, field_of, unwrap
from ssl_mask.cli.verbs import VERBS, load
from ssl_mask.config import nest, validate
from ssl_mask.config.load import configs_folder

SPELLING = {key: names for flags in PANELS.values() for key, names in flags.items()}


def commands() -> Iterator[tuple[str, TyperCommand]]:
    for verb in VERBS:
        command = load(verb)
        if isinstance(command, TyperGroup):
            yield from ((f"{verb} {name}", inner) for name, inner in command.commands.items())  # type: ignore[misc]
        else:
            yield verb, command  # type: ignore[misc]


def setting_of(option: TyperOption) -> str | None:
    """The setting that a flag sets, from its spelling; `predict --on-bad` is about other images than the setting."""
    return next((key for key, names in SPELLING.items() if option.name == key.replace(".", "_")), None)


COMMANDS = dict(commands())
SETTING_FLAGS = [
    (name, key, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, TyperOption) and (key := setting_of(option))
]


def test_no_spelling_stands_for_two_settings() -> None:
    names = [name for spellings in SPELLING.values() for name in spellings]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("verb", "key", "option"), SETTING_FLAGS, ids=lambda p: p if isinstance(p, str) else "")
def test_a_flag_says_what_its_setting_says(verb: str, key: str, option: TyperOption) -> None:
    field = field_of(key)
    assert tuple(option.opts) == SPELLING[key]
    assert option.help == unwrap(field.description or "")
    default = field.get_default(call_default_factory=True)
    assert option.default == (list(default) if isinstance(default, tuple) else default), verb
    for choice in get_args(field.annotation) if get_origin(field.annotation) is Literal else ():
        assert choice in f"{option.metavar} {option.help}"


def test_every_verb_that_trains_takes_its_settings_from_flags() -> None:
    taken = {verb: {key for v, key, _ in SETTING_FLAGS if v == verb} for verb in VERBS}
    assert {"data.root", "seed", "train.steps", "guard.mode", "runs"} <= taken["train"] & taken["uda"] & taken["pseudo"]
    assert "data.unlabeled" in taken["uda"] and "data.unlabeled" not in taken["train"]
    assert sum(map(len, taken.values())) > 50


def test_a_verb_has_no_flag_of_its_own_for_what_is_a_setting() -> None:
    """One exception: what `predict` does with unreadable images is no setting."""
    own = {
        (name, spelling)
        for name, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, TyperOption) and setting_of(option) is None
        for spelling in option.opts
    }
    all_spellings = {name for names in SPELLING.values() for name in names}
    assert {pair for pair in own if pair[1] in all_spellings} == {("predict", "--on-bad")}


def test_the_settings_that_presets_give_are_known() -> None:
    given: set[str] = set()
    for path in configs_folder().glob("*.yaml"):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        given |= {f"{a}.{b}" for a, section in tree.items() if isinstance(section, dict) for b in section}
    assert (given & SPELLING.keys()) | {"train.steps", "train.epochs"} == FROM_PRESET


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_each_verb_says(verb: str) -> None:
    assert (load(verb).help or "").split("\n\n")[0] == VERBS[verb]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_verb_has_two_examples_that_it_understands(name: str) -> None:
    command = COMMANDS[name]
    lines = re.findall(r"^\$ sslmask (.*)$", command.epilog or "", flags=re.M)
    assert len(lines) >= 2
    for line in lines:
        words = shlex.split(line.partition(" > ")[0])
        assert words[: len(name.split())] == name.split()
        command.make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_markup_that_would_be_swallowed(name: str) -> None:
    command = COMMANDS[name]
    texts = [command.help, command.epilog, *(getattr(p, "help", "") for p in command.params)]
    assert not [t for t in texts if "[" in (t or "")]
    assert all(getattr(p, "help", None) for p in command.params)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [80, 120])
def test_help_shows_defaults_and_cuts_nothing(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)
    with pytest.raises(SystemExit) as left:
        COMMANDS[name].main(["--help"], prog_name=f"sslmask {name}")
    shown = capsys.readouterr().out
    assert left.value.code == 0 and max(map(len, shown.splitlines())) <= width
    assert "…" not in shown and "Examples:" in shown
    if name == "train":
        assert "[default: (the preset's)]" in shown and "[default: runs]" in shown and "[default: on]" in shown
        panels = re.findall(r"^╭─ ([\w ]+?) ─", shown, flags=re.M)
        assert panels == ["Data", "Training", "Leakage guard", "Settings", "Output"]


def given_by(name: str, *words: str) -> dict[str, Any]:
    """What a command understands, as the nested mapping that its flags become."""
    from ssl_mask.cli import flags

    seen: list[Given] = []

    class ReachedError(Exception):
        pass

    def spy(self: Given, *, quiet: bool = False) -> list[dict[str, Any]]:  # noqa: ARG001
        seen.append(self)
        raise ReachedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags.Given, "layers", spy)
        with pytest.raises(ReachedError):
            COMMANDS[name].main(list(words), standalone_mode=False)
    return dict(seen[0].flags)


def test_only_what_was_given_is_passed_on() -> None:
    assert given_by("train") == {}
    assert given_by("train", "--seed", "0", "--drop-overlap") == {"seed": 0, "guard.drop_overlap": True}
    found = given_by("uda", "-u", "a", "--unlabeled", "b/*.jpg", "--data", "d", "--epochs", "1.5", "--guard", "off")
    assert found == {
        "data.unlabeled": ["a", "b/*.jpg"], "data.root": Path("d"), "train.epochs": 1.5, "guard.mode": "off",
    }  # fmt: skip
    for key, value in found.items():
        validate(nest(key, value))


def test_flags_win_over_set_and_set_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sslmask.yaml").write_text("seed: 1\nname: project\n")
    Path("mine.yaml").write_text("seed: 2\n")
    given = Given({"seed": 4}, ("mine.yaml", "laptop"), ("seed=3", "runs=elsewhere"))
    layers = given.layers(quiet=True)
    assert [layer.get("seed") for layer in layers] == [1, 2, None, 3, 4]
    assert layers[2]["preset"] == "laptop"
    assert given.alone().seed == 4 and given.alone().runs == Path("runs")
