"""Seen-sets as sslmask-seen-v1 wrote them: with a grey picture of every image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ssl_mask.guard.copies.fingerprints import Fingerprints


def write_old_seen(path: Path, prints: Fingerprints) -> None:
    """Of readable images, no two of them equal."""
    rows = sorted(range(len(prints)), key=prints.digests.__getitem__)
    digests, pixels = (
        np.array([list(bytes.fromhex(names[row])) for row in rows], np.uint8)
        for names in (prints.digests, prints.pixels)
    )
    jpegs = [bytes(cv2.imencode(".jpg", prints.thumbs[row], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(
            file,
            format=np.array("sslmask-seen-v1"),
            digests=digests,
            pixels=pixels,
            pdq=prints.pdq[rows],
            lengths=np.array([len(jpeg) for jpeg in jpegs], np.int64),
            jpegs=np.frombuffer(b"".join(jpegs), np.uint8),
        )
