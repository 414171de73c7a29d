"""The plot of a learning curve. `python -m ssl_mask.reports.curve_plot` draws one from made-up scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.power_law import Forecast, PowerLaw
from ssl_mask.reports.figures import COLOURS, legend, new_figure, save_figure


class Point(Protocol):
    """As `CurveSize`, of the workflow."""

    @property
    def groups(self) -> float: ...
    @property
    def macro_f1(self) -> Interval: ...


class Curve(Protocol):
    """As `LearningCurve`, of the workflow."""

    @property
    def sizes(self) -> Sequence[Point]: ...
    @property
    def forecast(self) -> Forecast: ...
    @property
    def doubts(self) -> Sequence[str]: ...


def write_curve(path: Path, curve: Curve) -> None:
    save_figure(path, draw_curve(curve))


def draw_curve(curve: Curve) -> Any:
    """Out-of-fold macro-F1 by training groups with 95 % intervals, the fitted law, its score at twice the groups."""
    figure, ((axis,),) = new_figure(1, 1, (7, 4.4))
    groups, scores = [size.groups for size in curve.sizes], [size.macro_f1 for size in curve.sizes]
    _bars(axis, groups, scores, color=COLOURS[0], fmt="o", label="out-of-fold, 95 % interval by group")
    reach = np.geomspace(groups[0], 2 * groups[-1], 100)
    law = [1 - curve.forecast.law.error(float(n)) for n in reach]
    axis.plot(reach, law, color=COLOURS[0], ls="--", lw=1.2, label="power law")
    told = "forecast, not to be relied on" if curve.doubts else "forecast"
    _bars(axis, [2 * groups[-1]], [curve.forecast.score], color=COLOURS[1], fmt="s", label=told)
    axis.set(title="Learning curve", xlabel="training groups", ylabel="macro-F1", xscale="log")
    ticks = [*groups, 2 * groups[-1]]
    axis.set_xticks(ticks, [f"{n:.0f}" for n in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    legend(axis, loc="lower right")
    return figure


def _bars(axis: Any, groups: Sequence[float], scores: Sequence[Interval], **style: Any) -> None:
    around = [[max(0.0, s.value - s.low) for s in scores], [max(0.0, s.high - s.value) for s in scores]]
    axis.errorbar(groups, [s.value for s in scores], yerr=around, capsize=4, **style)


if __name__ == "__main__":
    from dataclasses import dataclass
    from tempfile import mkdtemp

    @dataclass(frozen=True)
    class _Size:
        groups: float
        macro_f1: Interval

    @dataclass(frozen=True)
    class _Curve:
        sizes: Sequence[_Size]
        forecast: Forecast
        doubts: Sequence[str]

    law = PowerLaw(0.2, 3.0, 0.5)
    made = [_Size(n, Interval(1 - law.error(n), 0.95 - law.error(n), 1.05 - law.error(n))) for n in (40, 80, 120, 160)]
    twice = 1 - law.error(320)
    ahead = Forecast(law, Interval(twice, twice - 0.08, twice + 0.06), Interval(0.05, 0.01, 0.1), 0.7)
    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    write_curve(folder / "curve.svg", _Curve(made, ahead, ()))
    print(folder)
