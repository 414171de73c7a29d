"""What `sslmask bench` measured, as a table and a sentence.

`python -m ssl_mask.reports.speed_table` shows them on made-up figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from ssl_mask.inference.engine_speeds import EngineSpeed
from ssl_mask.reports.tables import Cells, markdown


def speed_cells(speeds: Sequence[EngineSpeed]) -> Cells:
    """A row an engine and device."""
    header = ("engine", "device", "p50 ms", "p95 ms", "best\nbatch", "images/s", "memory MB")
    return Cells(header, tuple(
        (s.engine, s.device, f"{s.p50_ms:.1f}", f"{s.p95_ms:.1f}", str(s.best_batch), f"{s.images_per_second:.0f}",
         "" if s.memory_bytes is None else f"{s.memory_bytes / 1e6:.0f}")
        for s in speeds
    ))  # fmt: skip


def speed_sentence(photos: int, seconds: float, read_ms: float | None, fastest: EngineSpeed) -> str:
    """Such as `840 photos in 31 s: …`."""
    time = f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
    reading = "without reading them" if read_ms is None else f"of which {photos * read_ms / 1000:.1f} s to read them"
    return f"{photos} photos in {time}, {reading}: {fastest.engine}, {fastest.device}, batch {fastest.best_batch}."


def _show() -> None:
    rows = [EngineSpeed("torch", "CPU, 2 threads", 21.3, 25.0, 16, 61.0, 210_000_000),
            EngineSpeed("onnxruntime", "CPU, 2 threads", 9.8, 11.2, 8, 128.0, 90_000_000)]  # fmt: skip
    print(markdown(speed_cells(rows)))
    print(speed_sentence(840, 840 * (0.03 + 1 / 128), 30.0, rows[1]))


if __name__ == "__main__":
    _show()
