"""YAML as people write it: words stay words, and what PyYAML takes in silence is one error with its line."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import load_config, read_config_file
from ssl_mask.config.yaml import parse_yaml
from ssl_mask.errors import ConfigError

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("name: 2020-01-01", {"name": "2020-01-01"}),
        ("name: no", {"name": "no"}),
        ("name: 007", {"name": "007"}),
        ("name: 1:30", {"name": "1:30"}),
        ("1: a\n2020-01-01: b\nno: c\nnull: d", {"1": "a", "2020-01-01": "b", "no": "c", "null": "d"}),
        ("a: [1, -2, 0x10, 1_000, 1.5, .5, -1.5e3, true, null, ~]",
         {"a": [1, -2, 16, 1000, 1.5, 0.5, -1500.0, True, None, None]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: &x {b: 1}\nd: {<<: *x}\ne: {<<: *x, b: 2}", {"a": {"b": 1}, "d": {"b": 1}, "e": {"b": 2}}),
    ],
)  # fmt: skip
def test_words_stay_words_and_merging_works(text: str, content: dict[str, Any]) -> None:
    assert parse_yaml(text) == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nruns: a\nseed: 2\n", "the key 'seed' is in it twice: lines 1 and 3"),
        ("train: {steps: 1, steps: 2}\n", "the key 'steps' is in it twice: lines 1 and 1"),
        ("a: 1\n? [b, c]\n: 2\n", "line 2: a key must be a word"),
        ("train:\n\tsteps: 1\n", "it is not valid YAML, line 2: found character '\\\\t' that cannot start any token"),
        ("seed: !!python/object/apply:os.system ['true']", "line 1: could not determine a constructor for the tag"),
        ("a: *nowhere", "line 1: found undefined alias 'nowhere'"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("[" * 5000, "it is nested too deeply"),
        ("[" * 100 + "]" * 100, "nested more than 64 levels deep"),
        ("a: &a [*a]", "nested more than 64 levels deep"),
        (LAUGHS, "more than 100,000 values"),
        (f"seed: {'9' * 5000}", "Exceeds the limit"),
        ("a: \0", "it is not valid YAML, unacceptable character"),
        ('a: "\\0"', "a text with a NUL"),
        (f"a: {'x' * 9000}", "a text of 9,000 characters"),
        ("a: 1\n" * 300_000, "more than 1,000,000 characters"),
    ],
)
def test_each_is_one_line_and_names_its_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def steps(text: str) -> int:
    """Lines of Python that run to parse it: as many on any machine, whatever else it does."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:  # noqa: ARG001
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(ValueError):
            parse_yaml(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("part", ["a: 1\n", "k{:03}: 1\n", "- [1, 2]\n"])
def test_four_times_the_text_is_four_times_the_work(part: str) -> None:
    """Not sixteen times: a file of a million characters would take hours."""
    short, long = ("".join(part.format(i) for i in range(n)) for n in (100, 400))
    assert steps(long) < 4.1 * steps(short)


def test_aliases_of_aliases_are_not_written_out() -> None:
    assert steps(LAUGHS) < steps(f"a: [{'1, ' * 1000}]")


def test_a_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for content, message in {
        b"seed: 1\nseed: 2": r"mine\.yaml is damaged: the key 'seed' is in it twice",
        b"- a": r"mine\.yaml must hold `key: value` lines, but holds a list",
        b"\x93NUMPY\xff": r"mine\.yaml is damaged: it is not UTF-8 text \(byte 0\)",
    }.items():
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_config_file(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="it is a pipe or a device"):
        read_config_file(path)


def test_a_preset_is_never_built_on_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("preset: a.yaml\n")
    with pytest.raises(ConfigError, match=r"a\.yaml is built on itself \(a\.yaml -> a\.yaml\)"):
        load_config(preset="a.yaml")
    Path("b.yaml").write_text("preset: c.yaml\n")
    Path("c.yaml").write_text("preset: b.yaml\n")
    with pytest.raises(ConfigError, match=r"\(b\.yaml -> c\.yaml -> b\.yaml\)"):
        load_config(preset="b.yaml")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"seed": 2**32}, "seed: Input should be less than 4294967296"),
        ({"data": {"split_seed": 10**30}}, "data.split_seed: "),
        ({"model": {"embedding_size": 10**12}}, "model.embedding_size: "),
        ({"model": {"image_size": 10**9}}, "model.image_size: "),
        ({"algorithm": "uda"}, "algorithm: "),
        ({"train": None}, "train: "),
        ({"preset": ["a"]}, "No config named"),
        ({"data": {"root": "a", "x" * 3000: 1}}, "no such key"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config({"preset": "none", **tree})
    assert len(caught.value.problem) < 1500
