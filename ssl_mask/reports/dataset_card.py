"""The card of a data set for the Hugging Face Hub: splits, classes, groups and digests. It shows no photo.

`python -m ssl_mask.reports.dataset_card` shows the card of a made-up data set.
"""

from __future__ import annotations

from collections import Counter

from ssl_mask.reports.data_page import SIZES
from ssl_mask.reports.described import TABLE, Described
from ssl_mask.reports.hub_card import front_matter
from ssl_mask.text import code, md, md_table, shown

LISTED = 50
"""Classes of a factor."""


def dataset_card(data: Described, license_id: str | None = None) -> str:
    """Markdown with front matter, as datasetcard.md of huggingface/hub-docs says.

    Args:
        license_id: an identifier of the Hub; None: the card names no license.
    """
    size = next((name for limit, name in SIZES if len(data.images) < limit), "n>1M")
    metadata = {
        "license": license_id,
        "pretty_name": shown(data.name),
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["sslmask", "image", "croissant"],
    }
    parts = [
        f"# {md(data.name)}",
        f"{len(data.images)} images. {_grouped(data)}",
        "## Splits",
        _splits(data),
        *_classes(data),
        "## Files",
        f"`{TABLE}` lists each image with its SHA-256, split, group and labels; `croissant.json` describes it for "
        f"programs (https://mlcommons.org/croissant). Content digest: {code(data.digest)}.",
        "## What this card does not say",
        "Who took the photos, and whether the people in them agreed. Whether a copy of a test image is among the "
        "training images: `sslmask audit` compares the splits and writes a data card for each.",
    ]
    return front_matter(metadata) + "\n" + "\n\n".join(parts) + "\n"


def _grouped(data: Described) -> str:
    if not data.grouped:
        return "**The data name no groups (persons)**: one person may be in two splits, and nobody can tell."
    groups = len({image.group for image in data.images if image.group})
    return f"{groups} groups (persons); photos of one belong into one split." if groups else "Its groups are known."


def _splits(data: Described) -> str:
    rows = []
    for split in data.splits:
        own = [image for image in data.images if image.split == split]
        groups = {image.group for image in own if image.group}
        shared = groups & {image.group for image in data.images if image.split != split}
        rows.append((
            md(split), str(len(own)), str(sum(i.labels is not None for i in own)), str(len(groups) or ""),
            str(len(shared) or ""), str(len({i.sha256 for i in own if i.sha256})),
        ))  # fmt: skip
    header = ("split", "images", "with labels", "groups", "groups in other splits", "different files")
    return md_table(header, rows)


def _classes(data: Described) -> list[str]:
    parts: list[str] = []
    for at, factor in enumerate(data.schema.factors if data.schema is not None else ()):
        counts = Counter((i.split, i.labels[at]) for i in data.images if i.labels is not None)
        splits = [split for split in data.splits if any(key[0] == split for key in counts)]
        rows = [
            (code(name), *(str(counts[split, number]) for split in splits))
            for number, name in enumerate(factor.classes[:LISTED])
        ]
        parts += [f"## Classes: {md(factor.name)}", md_table(("class", *(md(s) for s in splits)), rows)]
        if len(factor.classes) > LISTED:
            parts.append(f"The first {LISTED} of {len(factor.classes)} classes.")
    return parts


if __name__ == "__main__":
    from ssl_mask.reports import samples

    print(dataset_card(samples.described()))
