"""The plot of a learning rate range test. `python -m ssl_mask.reports.lr_plot` draws one from made-up losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ssl_mask.reports.figures import COLOURS, legend, new_figure, save_figure


class Measured(Protocol):
    """As `LrRange`, of the training."""

    @property
    def rates(self) -> tuple[float, ...]: ...
    @property
    def losses(self) -> tuple[float, ...]: ...
    @property
    def smoothed(self) -> tuple[float, ...]: ...
    @property
    def suggested(self) -> float | None: ...


def write_lr_plot(path: Path, found: Measured, configured: float) -> None:
    save_figure(path, draw_lr_plot(found, configured))


def draw_lr_plot(found: Measured, configured: float) -> Any:
    """Loss by learning rate, with the suggested and the configured rate."""
    figure, ((axis,),) = new_figure(1, 1, (7, 4.4))
    axis.plot(found.rates, found.losses, color="0.75", lw=0.9, label="loss of a step")
    axis.plot(found.rates, found.smoothed, color=COLOURS[0], lw=2, label="smoothed")
    axis.axvline(configured, color="0.35", ls=":", lw=1.5, label=f"configured: {configured:.1e}")
    if found.suggested is not None:
        label = f"suggested: {found.suggested:.1e}"
        axis.axvline(found.suggested, color=COLOURS[1], lw=1.5, label=label)
    axis.set(title="Learning rate range test", xlabel="optim.lr", ylabel="training loss", xscale="log")
    if found.smoothed:
        low, high = min(found.smoothed), found.smoothed[0]
        axis.set_ylim(low - 0.3 * (high - low) - 0.05, high + 1.0 * (high - low) + 0.05)
    axis.grid(alpha=0.3)
    legend(axis)
    return figure


if __name__ == "__main__":
    from dataclasses import dataclass
    from tempfile import mkdtemp

    @dataclass(frozen=True)
    class _Made:
        rates: tuple[float, ...]
        losses: tuple[float, ...]
        smoothed: tuple[float, ...]
        suggested: float | None

    rates = tuple(10 ** (-6 + 6 * n / 99) for n in range(100))
    falls = tuple(3 - 2 / (1 + (1e-3 / r) ** 1.5) + 5 * r for r in rates)
    noisy = tuple(loss + 0.2 * ((n * 7919) % 13 / 13 - 0.5) for n, loss in enumerate(falls))
    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    write_lr_plot(folder / "find-lr.svg", _Made(rates, noisy, falls, 8e-4), 3e-3)
    print(folder)
