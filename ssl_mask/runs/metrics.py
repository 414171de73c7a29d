"""metrics.jsonl: a line every few steps and every evaluation, appended while a run trains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ssl_mask.errors import DataError
from ssl_mask.files import storage, write_text
from ssl_mask.reading import one_line, parse_json, read_text, reading
from ssl_mask.runs.base import Count, Finite, NotNegative, Positive, Record, Share

HINT = "Restore it from a copy, or remove the line: the plots then lack it, and nothing else."


class TrainLine(Record):
    """What is logged of a training step."""

    kind: Literal["train"]
    step: Count
    loss: float
    terms: dict[str, float]
    stats: dict[str, float | list[float]]
    lr: NotNegative
    images_per_second: NotNegative


class EvaluationLine(Record):
    """What is logged of an evaluation; an algorithm adds values per head."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, float]]

    kind: Literal["val"]
    step: Count
    weights: Literal["live", "ema"]
    cpu_seconds: NotNegative
    macro_f1: Share
    accuracy: Share
    heads: dict[str, Share]
    nll: Finite
    ece: NotNegative
    ece_raw: NotNegative
    temperatures: dict[str, Positive]


_LINE: TypeAdapter[TrainLine | EvaluationLine] = TypeAdapter(
    Annotated[TrainLine | EvaluationLine, Field(discriminator="kind")]
)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines; a last one without an end, which a kill has torn, is left out.

    Raises:
        DataError: a damaged line before that.
    """
    with reading(path, DataError, hint=HINT):
        lines = read_text(path).split("\n")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_parsed(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}:{number} is damaged: {one_line(str(error))}.", hint=HINT) from error
    return found


def append_metrics(path: Path, record: Mapping[str, Any]) -> None:
    """Append a line. Raises StorageError when the disk refuses."""
    with storage(path), path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


def forget_metrics_after(path: Path, step: int) -> None:
    """Drop the lines later than `step`.

    Raises:
        DataError: a damaged line. StorageError: the disk refuses.
    """
    kept = [json.dumps(line) for line in (read_metrics(path) if path.exists() else []) if line["step"] <= step]
    write_text(path, "".join(f"{line}\n" for line in kept))


def _parsed(line: str) -> dict[str, Any]:
    """Raises ValueError for a damaged line."""
    content = parse_json(line)
    try:
        _LINE.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return dict(content)


def cpu_seconds(path: Path) -> float:
    """CPU time up to the last evaluation.

    Raises:
        DataError: no evaluation is logged, or a line is damaged.
    """
    spent = [float(r["cpu_seconds"]) for r in read_metrics(path) if r["kind"] == "val"]
    if not spent:
        raise DataError(f"{path} holds no evaluation.", hint="Restore it from a copy, or train again.")
    return max(spent)
