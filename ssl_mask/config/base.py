"""What all parts of the configuration share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST_IMAGE = 4096
"""Pixels of a side; no network of ours takes more, and a wrong number must not fill the memory."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What every library takes."""
MOST = 10**9
"""Steps of a training; more is a slip of the hand."""


class Settings(BaseModel):
    """A number is a name too where a name is asked for: of a class, a column, a run or a folder such as `2023`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    @model_validator(mode="before")
    @classmethod
    def _paths_may_be_numbers(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        paths = {n for n, f in cls.model_fields.items() if Path in (f.annotation, *get_args(f.annotation))}
        return {k: str(v) if k in paths and type(v) in {int, float} else v for k, v in given.items()}
