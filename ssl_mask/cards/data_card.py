"""The data card of an unlabeled pool: what it is, where it came from, what has not been checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ssl_mask.data.unlabeled import Unlabeled


def data_card(sources: Sequence[str], pool: Unlabeled) -> str:
    """Markdown, from the pool as it is used."""
    manifest = pool.manifest
    lines = [
        "# Data card of the unlabeled pool",
        "**Not checked**: whether these images come from the test set, or show people of the labeled or test images. "
        "Only copies of labeled images, byte for byte, were left out.",
        "| what | value |\n| --- | --- |\n"
        f"| named by | {', '.join(sources) or 'the data set itself'} |\n"
        f"| folder | {manifest.root} |\n"
        f"| images used | {len(manifest)} |\n"
        f"| images left out | {len(pool.left_out)} |\n"
        f"| content hash | `{manifest.content_hash}` |",
        "Labels of these images were not read. Every image with its SHA-256 is in `unlabeled.csv`.",
    ]
    if pool.left_out:
        reasons = Counter(
            "same bytes as another image" if w.startswith("same bytes") else w for w in pool.left_out.values()
        )
        lines.append("Left out: " + "; ".join(f"{n} × {why}" for why, n in reasons.most_common()) + ".")
    return "\n\n".join(lines) + "\n"
