"""A part of a file that was changed or swapped alone is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_records import metadata
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ssl_mask.errors import MismatchError
from ssl_mask.runs.checkpoint import is_checkpoint, load_checkpoint, read_metadata, save_checkpoint
from ssl_mask.runs.seal import is_whole, sealed, tensors_digest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best.safetensors", nn.Linear(2, 3), metadata(leakage="transductive-test"))
    return tmp_path / "best.safetensors"


def header_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="np") as file:
        return dict(json.loads(file.metadata()["sslmask"]))


def rewrite(path: Path, header: dict[str, Any], weights: dict[str, torch.Tensor] | None = None) -> None:
    save_file(weights or load_file(path), path, metadata={"format": "1", "sslmask": json.dumps(header)})


@pytest.mark.parametrize(
    "change",
    [
        {"leakage": "clean"},
        {"marks": {}},
        {"seen": None},
        {"temperatures": {"kind": 2.0, "cover": 2.0}},
        {"run": "x"},
    ],
)
def test_an_edited_header_is_refused(checkpoint: Path, change: dict[str, Any]) -> None:
    load_checkpoint(checkpoint)
    rewrite(checkpoint, {**header_of(checkpoint), **change})
    for read in (read_metadata, load_checkpoint):
        with pytest.raises(MismatchError, match=r"header of .*best\.safetensors has changed"):
            read(checkpoint)


def test_a_header_without_its_seal_is_refused(checkpoint: Path) -> None:
    rewrite(checkpoint, {k: v for k, v in header_of(checkpoint).items() if k != "seal"})
    with pytest.raises(MismatchError, match="has changed"):
        read_metadata(checkpoint)


def test_other_weights_under_a_header_are_refused(checkpoint: Path) -> None:
    rewrite(checkpoint, header_of(checkpoint), {k: v + 1e-7 for k, v in load_file(checkpoint).items()})
    assert read_metadata(checkpoint).leakage == "transductive-test"
    with pytest.raises(MismatchError, match="not those that its header describes"):
        load_checkpoint(checkpoint)


def test_whose_a_weight_file_is_stands_in_its_header(checkpoint: Path, tmp_path: Path) -> None:
    save_file(load_file(checkpoint), tmp_path / "bare.safetensors")
    torch.save(load_file(checkpoint), tmp_path / "bare.pth")
    found = {p.name: is_checkpoint(p) for p in tmp_path.iterdir()}
    assert found == {"best.safetensors": True, "bare.safetensors": False, "bare.pth": False}


def test_a_seal_survives_json_and_no_change() -> None:
    content = {"a": [1, 0.1, float("inf")], "b": {"c": None}, "é": (1, 2)}
    again = json.loads(json.dumps(sealed(content)))
    assert is_whole(again)
    assert not is_whole({**again, "a": [1, 0.2, float("inf")]})
    assert not is_whole(content)


def test_a_digest_of_tensors_holds_names_types_shapes_and_values() -> None:
    base = {"a": torch.zeros(2, 3), "n": torch.tensor(0)}
    others = [
        {"b": base["a"], "n": base["n"]}, {"a": torch.zeros(3, 2), "n": base["n"]}, {"a": base["a"]},
        {"a": base["a"].bfloat16(), "n": base["n"]}, {"a": base["a"], "n": torch.tensor(1)},
    ]  # fmt: skip
    assert len({tensors_digest(t) for t in [base, *others]}) == 6
    assert tensors_digest(base) == tensors_digest({"n": base["n"], "a": torch.zeros(3, 2).T.contiguous()})
