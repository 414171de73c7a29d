"""`import ssl_mask` can be used alone: complete, documented, and every example runs."""

from __future__ import annotations

import doctest
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from faces_there import is_installed
from pydantic import BaseModel
from tiny_runs import TINY

import ssl_mask
from ssl_mask.config import load
from ssl_mask.data.prepare import weights

ORDER = (
    "demo", "prepare", "load_config", "find_lr", "train", "load_run", "train_folds", "learning_curve",
    "train_factors", "predict", "export", "predict_exported", "bench", "evaluate", "report",
    "review", "uda", "compare", "pseudo", "pseudo_folds", "tune", "audit", "explore",
    "embed", "acquire", "build_gallery", "add_to_gallery", "search_gallery", "remove_from_gallery",
)  # fmt: skip
"""Later examples use what earlier ones made, as a reader does."""


def functions() -> list[str]:
    return [name for name in ssl_mask.__all__ if inspect.isfunction(getattr(ssl_mask, name))]


def own_classes(annotation: Any) -> Iterator[type]:
    """The classes of this package in an annotation, however deep."""
    if isinstance(annotation, type) and annotation.__module__.startswith("ssl_mask"):
        yield annotation
    for part in typing.get_args(annotation):
        for each in part if isinstance(part, list) else [part]:
            yield from own_classes(each)


def parts_of(kind: type) -> Iterator[Any]:
    """The annotations of what a class shows: its fields, and what its public methods and properties return."""
    if issubclass(kind, BaseModel):
        yield from (field.annotation for field in kind.model_fields.values())
    else:
        yield from typing.get_type_hints(kind).values()
    for name, member in inspect.getmembers(kind):
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__.startswith("ssl_mask"):
            yield typing.get_type_hints(function).get("return")


def test_what_a_public_function_takes_or_returns_is_public_too() -> None:
    todo = [c for name in functions() for h in typing.get_type_hints(getattr(ssl_mask, name)).values()
            for c in own_classes(h)]  # fmt: skip
    reached: set[type] = set()
    while todo:
        kind = todo.pop()
        if kind not in reached:
            reached.add(kind)
            todo += [c for part in parts_of(kind) for c in own_classes(part)]
    assert len(reached) > 30
    assert sorted({c.__name__ for c in reached} - set(ssl_mask.__all__)) == []


def test_every_public_name_is_there_and_explained() -> None:
    for name in ssl_mask.__all__:
        thing = getattr(ssl_mask, name)
        assert thing.__name__ == name
        # A dataclass without a docstring of its own gets its signature as one.
        written = (thing.__doc__ or "").strip()
        assert written and not written.startswith(f"{name}("), f"{name} has no docstring"


def test_every_public_function_has_an_example() -> None:
    assert sorted(functions()) == sorted(ORDER)
    for name in functions():
        assert "Examples:" in (getattr(ssl_mask, name).__doc__ or ""), name


@pytest.mark.timeout(0)  # as many trainings as there are examples, on any machine
def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, word for word; presets of the same names make the runs small."""
    presets = tmp_path / "configs"
    presets.mkdir()
    for name in ("laptop", "uda_laptop", "pseudo_laptop"):
        (presets / f"{name}.yaml").write_text(yaml.safe_dump({**TINY, "preset": "none"}))
    monkeypatch.setattr(load, "configs_folder", lambda: presets)
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    finder = doctest.DocTestFinder(recurse=False)
    ran = 0
    for name in ORDER:
        if name == "prepare" and not is_installed(weights.FACES):
            continue  # its models are installed apart from all else; CI has them
        (test,) = finder.find(getattr(ssl_mask, name), name, globs={})
        said: list[str] = []
        result = runner.run(test, out=said.append)
        assert result.failed == 0, "".join(said)
        ran += result.attempted
    assert ran > 30
