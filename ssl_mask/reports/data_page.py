"""A pool's data card as a page: Markdown with the front matter of a Hugging Face dataset card, from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ssl_mask.guard.findings import KINDS
from ssl_mask.text import code, md, md_table, shown

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LISTED = 20

LIMITS = (
    "very small images, crops beyond about a quarter, rotations beyond about 6°, parts of a picture that are neither "
    "inside of a border of one colour nor a quarter of a collage, blur beyond about 4 % of the width, several "
    "strong alterations at once",
    "the same person, scene or object in another photo, unless group ids say so",
    "images that no pool of this audit holds: what a pretrained network has seen, above all",
    "edits by somebody who means it: this card is not signed. It is evidence, not proof against tampering",
)
EARLIER = ("very small images, crops beyond about 20 %, rotations beyond about 6°, collages, heavy blur", *LIMITS[1:])
"""Those of cards of before there were self-tests."""
KAPOOR = "https://doi.org/10.1016/j.patter.2023.100804"
_NO = "not checked"


def pool_page(card: Mapping[str, Any]) -> str:
    """Markdown of a card's content."""
    predicate = card["predicate"]
    parts = [
        _front_matter(predicate),
        f"# Data card: {md(predicate['name'])}",
        _headline(predicate),
        md_table(("what", "value"), _facts(predicate, card["predicateType"])),
        "## Compared with",
        _comparisons(predicate),
        *_examples(predicate["comparisons"]),
        *_exceptions(predicate),
        *_unreadable(predicate["unreadable"]),
        *_self_test(predicate),
        "## What a check of pictures can and cannot see",
        f"The eight kinds of leakage of Kapoor and Narayanan ({KAPOOR}):",
        md_table(("kind", "here"), leakage_kinds(predicate)),
        "Not seen: " + "; ".join(LIMITS if "self_test" in predicate else EARLIER) + ".",
        "## Made with",
        md_table(("what", "version"), sorted(predicate["tool"].items())),
    ]
    return "\n\n".join(parts) + "\n"


def leakage_kinds(predicate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which kinds this card has looked at. The names are those of the taxonomy."""
    roles = {predicate["role"], *(c["role"] for c in predicate["comparisons"])}
    unknown = [c["with"] for c in predicate["comparisons"] if c["not_checked"]]
    grouped = predicate["groups"]["complete"]
    return [
        ("L1.1 no test set", "a test pool is there" if "test" in roles else "there is no test pool"),
        ("L1.2 pre-processing on training and test set", _NO),
        ("L1.3 feature selection on training and test set", _NO),
        ("L1.4 duplicates", "checked: copies and altered copies, within the limits below"),
        ("L2 illegitimate features", _NO),
        ("L3.1 temporal leakage", _NO),
        (
            "L3.2 dependence between training and test samples",
            "checked by group ids only"
            if grouped and not unknown
            else f"{_NO} with {md(', '.join(unknown) or 'anything')}",
        ),
        ("L3.3 sampling bias in the test distribution", _NO),
    ]


def _front_matter(predicate: Mapping[str, Any]) -> str:
    """The keys that the Hugging Face Hub knows."""
    size = next((name for limit, name in SIZES if predicate["n"] < limit), "n>1M")
    content = {
        "pretty_name": shown(predicate["name"]),
        "size_categories": [size],
        "task_categories": ["image-classification"],
        "tags": ["sslmask", f"role:{predicate['role']}"],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _headline(predicate: Mapping[str, Any]) -> str:
    if predicate["role"] not in {"test", "val"}:
        return "Nobody is scored on this pool: the cards of the test and validation pools say whether a score is clean."
    return f"Scores on this pool, with the training pools below: **{predicate['status']}** ({md(predicate['reason'])})."


def _facts(predicate: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    groups = predicate["groups"]
    known = f"{groups['count']}, from {md(groups['source'] or 'somewhere')}" + (
        "" if groups["complete"] else ", incomplete"
    )
    method = ", ".join(f"{key} {value}" for key, value in sorted(predicate["method"].items()))
    return [
        ("role", predicate["role"]),
        ("images", str(predicate["n"])),
        ("unreadable", str(len(predicate["unreadable"]))),
        ("content digest", f"`{predicate['content_digest']}`"),
        ("groups", known if groups["count"] else "**NOT CHECKED**: none are known"),
        ("method", md(method)),
        ("card", f"`{kind}`, digest `{predicate['card_digest']}`; every image with its SHA-256 is in the JSON"),
    ]


def _comparisons(predicate: Mapping[str, Any]) -> str:
    if not predicate["comparisons"]:
        return "With nothing: this pool was audited alone."
    # Pages of cards that were written before there was this kind stay as they are.
    prepared = any(c["pairs"].get("source", 0) for c in predicate["comparisons"])
    kinds = [kind for kind in KINDS if kind != "source" or prepared]
    rows = []
    for c in predicate["comparisons"]:
        counts = [str(c["pairs"][kind]) for kind in kinds]
        if c["not_checked"]:
            counts[-1] = "NOT CHECKED"
        pool, unchecked = f"{md(c['with'])} ({c['role']}, {c['n']})", md("; ".join(c["not_checked"]))
        rows.append((pool, *counts, str(c["conflicts"]), unchecked))
    names = {"bytes": "same bytes", "pixels": "same pixels", "group": "groups"}
    header = ("pool", *(names.get(kind, kind) for kind in kinds), "other label", "not checked")
    return md_table(header, rows) + "\n\nPairs of images; `groups` counts groups (persons) that are in both pools."


def _examples(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for c in comparisons:
        for e in c["examples"]:
            score = f"{e['score']:.3f}" if e["score"] else ""
            rows.append((md(c["with"]), e["kind"], score, code(e["here"]), code(e["there"])))
    return ["## Examples", md_table(("pool", "kind", "score", "here", "there"), rows)] if rows else []


def _exceptions(predicate: Mapping[str, Any]) -> list[str]:
    """What somebody declared or allowed, in their words."""
    parts: list[str] = []
    if declared := predicate["declaration"]:
        parts += [
            "## Declared transductive use",
            f"{md(declared['reason'])}. Allowed by: {md(declared['allowed_by'])}.",
        ]
    if allowed := predicate["allowed"]:
        rows = [(code(a["first"]), code(a["second"]), md(a["reason"])) for a in allowed[:LISTED]]
        parts += [f"## Allowed pairs ({len(allowed)})", md_table(("first", "second", "reason"), rows)]
    return parts


def _self_test(predicate: Mapping[str, Any]) -> list[str]:
    """What share of altered copies of these photos is found; cards of before there was such a test say nothing."""
    if "self_test" not in predicate:
        return []
    search = predicate["method"].get("search")
    exact = "The search is exact: every photo was compared with every one of the other pool."
    search = exact if search == "exact" else f"The search is approximate ({md(str(search))})."
    tested = predicate["self_test"]
    if tested is None:
        without = "its recall was NOT MEASURED" if search != exact else "no altered copies were planted"
        return ["## Self-test", f"{search} Not run: {without}; `sslmask audit --self-test 200` does it."]
    rows = [
        (md(a["alteration"]), str(a["planted"]), str(a["found"]), str(a["review"]), *_recall(a["recall"]))
        for a in tested["alterations"]
    ]
    header = ("alteration", "planted", "found", "only to review", "recall", "95 % interval (Wilson)")
    return [
        "## Self-test",
        f"{md(tested['sentence'][:1].upper() + tested['sentence'][1:])}. {search}",
        f"{tested['photos']} of {tested['of']} photos of {md(tested['pool'])}, drawn with seed {tested['seed']}, were "
        f"altered in memory, each way alone, and the copies planted into {md(tested['among'])}. False alarms are not "
        "counted here: look at the sheet of pairs (`audit_pairs.png`), which shows the pairs of the photos themselves.",
        md_table(header, rows),
    ]


def _recall(recall: Mapping[str, float] | None) -> tuple[str, str]:
    return ("", "") if recall is None else (f"{recall['value']:.3f}", f"{recall['low']:.3f} to {recall['high']:.3f}")


def _unreadable(unreadable: Mapping[str, str]) -> list[str]:
    if not unreadable:
        return []
    rows = [(code(path), md(why)) for path, why in sorted(unreadable.items())[:LISTED]]
    return [f"## Unreadable ({len(unreadable)})", md_table(("file", "why"), rows)]
