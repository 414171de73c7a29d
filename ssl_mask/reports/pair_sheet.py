"""A picture of what the guard found: each pair of images side by side, so that a person can judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ssl_mask.data.images import decode, fit
from ssl_mask.errors import ImageError
from ssl_mask.files import atomic_path
from ssl_mask.guard.findings import KINDS, Pair, shown

SIDE, GAP, LINE, COLUMNS = 160, 8, 17, 3
CELL = (2 * SIDE + 2 * GAP, SIDE + 3 * LINE + 2 * GAP)
FONT = ImageFont.load_default(13)


def strongest(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """The surest kinds first, then the highest scores."""
    return sorted(pairs, key=lambda p: (KINDS.index(p.kind), -p.score, p))[:most]


def pair_sheet(
    pairs: Sequence[Pair], roots: Mapping[str, Path], out: Path, *, most: int = 40, max_pixels: int = 50_000_000
) -> Path:
    """Write a PNG of the strongest pairs; its title says how many are left out.

    Args:
        roots: pool -> the folder that its paths are relative to.
        most: pairs to show.

    Raises:
        StorageError: it cannot be written.
    """
    chosen = strongest(pairs, most)
    rows = -(-len(chosen) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0] + GAP, rows * CELL[1] + 2 * LINE), "white")
    draw = ImageDraw.Draw(sheet)
    left_out = len(pairs) - len(chosen)
    title = f"{len(chosen)} of {len(pairs)} pairs, the surest first" + (f"; {left_out} left out" if left_out else "")
    draw.text((GAP, GAP), title, fill="black", font=FONT)
    for number, pair in enumerate(chosen):
        left, top = GAP + number % COLUMNS * CELL[0], 2 * LINE + number // COLUMNS * CELL[1]
        for shift, (pool, path) in enumerate(((pair.first_pool, pair.first), (pair.second_pool, pair.second))):
            picture = Image.fromarray(_picture(roots[pool] / path, max_pixels))
            sheet.paste(picture, (left + shift * (SIDE + 2), top + 3 * LINE))
        for line, text in enumerate(_caption(pair)):
            draw.text((left, top + line * LINE), text, fill="black", font=FONT)
    with atomic_path(out) as partial:
        sheet.save(partial, format="PNG")
    return out


def _caption(pair: Pair) -> tuple[str, str, str]:
    what = f"group {pair.group}, {pair.images} images" if pair.kind == "group" else f"{pair.kind} {pair.score:.3f}"
    first, second = pair.first_pool, pair.second_pool
    if pair.is_conflict:
        first, second = f"{first}, {pair.first_label}", f"{second}, {pair.second_label}"
    return _ending("", what), _ending(f"{first}: ", pair.first), _ending(f"{second}: ", pair.second)


def _ending(head: str, text: str) -> str:
    """As much of the end of `text` as fits above two pictures; the end of a path says more than its beginning."""
    whole, text = f"{head}{shown(text)}", shown(text)[-2 * SIDE :]
    while FONT.getlength(whole) > 2 * SIDE + 2 and len(text) > 1:
        text = text[1:]
        whole = f"{head}…{text}"
    return whole


def _picture(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    """The image in a square, or grey when it is gone by now."""
    try:
        return fit(decode(path, max_pixels=max_pixels), SIDE, "pad")
    except ImageError:
        return np.full((SIDE, SIDE, 3), 128, np.uint8)
