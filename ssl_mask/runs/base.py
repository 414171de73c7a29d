"""Records that are checked when they are read: a damaged file is one clear error, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_mask.errors import DataError, InputError
from ssl_mask.reading import one_line, parse_json, read_text, reading

Count = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Record(BaseModel):
    """A frozen record; unknown keys are refused, since every key in these files is ours."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True,
        ser_json_inf_nan="constants",
    )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`: the keys that were set, so that a file gets no key that nobody wrote."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def parse_record(kind: type[AnyRecord], content: Any, where: str, *, error: type[InputError], hint: str) -> AnyRecord:
    """Check what was read.

    Args:
        where: file (and part of it) for the message.

    Raises:
        InputError: of the type `error`; names the first wrong key and counts the others.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as found:
        first, *others = found.errors(include_input=False)
        key = one_line(".".join(map(str, first["loc"])) or "the whole")
        more = f" (and {len(others)} more problems)" if others else ""
        raise error(f"{where} is damaged: {key}: {one_line(first['msg'])}{more}.", hint=hint) from None


def read_record(path: Path, kind: type[AnyRecord], *, hint: str) -> AnyRecord:
    """Read a JSON file of one record.

    Raises:
        DataError: missing, not JSON, or a key that is missing, unknown or wrong.
    """
    with reading(path, DataError, hint=hint):
        content = parse_json(read_text(path))
    return parse_record(kind, content, str(path), error=DataError, hint=hint)


def update_record(record: AnyRecord, changes: Mapping[str, Any]) -> AnyRecord:
    """A new record with some fields changed; checked as a whole. Raises ValidationError for a wrong one."""
    kept = {name: getattr(record, name) for name in record.model_fields_set}
    return type(record).model_validate({**kept, **changes})
