"""A data card as a typed record: `<pool>.json` is checked when it is read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ssl_mask.guard.findings import Kind, Pair, Role
from ssl_mask.runs.base import Count, Record, Share

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:sslmask:pool-card:1"


class DigestRecord(Record):
    sha256: str


class SubjectRecord(Record):
    """What the card is about."""

    name: str
    digest: DigestRecord


class FileRecord(Record):
    path: str
    sha256: str


class GroupsRecord(Record):
    source: str
    count: Count
    complete: bool


class PairCounts(Record):
    bytes: Count
    pixels: Count
    source: Count = 0
    """Of images that were made of one another, or of one photo; cards of older versions do not count them."""
    near: Count
    review: Count
    group: Count


class ExampleRecord(Record):
    kind: Kind
    score: Share
    here: str
    there: str
    group: str


class ComparedRecord(Record):
    """What was found between the pool and another one."""

    other: str = Field(alias="with")
    role: Role
    content_digest: str
    n: Count
    pairs: PairCounts
    conflicts: Count
    examples: tuple[ExampleRecord, ...]
    not_checked: tuple[str, ...]


class DeclaredRecord(Record):
    reason: str
    allowed_by: str


class AllowedRecord(Record):
    first: str
    second: str
    reason: str


class RecallRecord(Record):
    """With its 95 % interval."""

    value: Share
    low: Share
    high: Share


class AlterationRecord(Record):
    alteration: str
    planted: Count
    found: Count
    review: Count
    recall: RecallRecord | None


class SelfTestRecord(Record):
    """What share of altered copies was found."""

    pool: str
    among: str
    photos: Count
    of: Count
    seed: int
    search: str
    planted: Count
    found: Count
    sentence: str
    alterations: tuple[AlterationRecord, ...]


class PredicateRecord(Record):
    """All that the card says."""

    version: Literal[1] = Field(alias="schema")
    name: str
    role: Role
    status: str
    reason: str
    n: Count
    content_digest: str
    root: str
    files: tuple[FileRecord, ...]
    folder: str
    others_in_folder: tuple[str, ...]
    unreadable: dict[str, str]
    groups: GroupsRecord
    comparisons: tuple[ComparedRecord, ...]
    conflicts: tuple[Pair, ...]
    method: dict[str, Any]
    self_test: SelfTestRecord | None = None
    declaration: DeclaredRecord | None
    allowed: tuple[AllowedRecord, ...]
    tool: dict[str, str]
    card_digest: str


class CardRecord(Record):
    """The content of a card, shaped as an in-toto Statement."""

    kind: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[SubjectRecord, ...]
    predicate_type: Literal["urn:sslmask:pool-card:1"] = Field(alias="predicateType")
    predicate: PredicateRecord
