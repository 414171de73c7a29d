"""What a person sees while something runs: lines, warnings, live progress. Quiet on all processes but the first.

On a terminal, progress is a bar with done/total, rate, elapsed and remaining time; several may be open at once (an
evaluation inside training). In a pipe or a CI log it is a plain line every ten seconds. `python -m ssl_mask.console`
shows both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from textwrap import fill
from typing import Protocol

import rich.console
from rich.progress import Progress, Task
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from ssl_mask.text import shown, shown_lines

LOG_EVERY_SECONDS = 10.0
"""Time between two lines of progress where there is no terminal."""

_SPEED_SECONDS = 60.0  # the rate is the mean over the last minute, so that an evaluation does not make it jump
_REFRESHES_PER_SECOND = 4.0
_FIXED_WIDTH = 56  # of a row without its description: spinner, shortest bar, counts, rate, two times


class Advance(Protocol):
    """Tells how far a piece of work is: `advance(done)`, now and then with a note. Microseconds; call it every step."""

    def __call__(self, to: int, note: str = "") -> None: ...


class Console:
    """A thin layer over rich; `quiet` shows nothing. No word is ever broken, so that a path can be copied whole."""

    def __init__(self, *, quiet: bool = False, stderr: bool = False) -> None:
        self.rich = rich.console.Console(quiet=quiet, stderr=stderr, soft_wrap=True, highlight=False)
        self._bars: _Bars | None = None

    def say(self, text: str, *, style: str | None = None) -> None:
        self.rich.print(Text(self._broken(text)), style=style)

    def warn(self, text: str) -> None:
        label, rest = self._broken(f"Note: {text}").split(":", 1)
        self.rich.print(Text.assemble((f"{label}:", "yellow"), rest))

    def _broken(self, text: str) -> str:
        """On a terminal lines are broken between words; a path that is longer than a line stays whole."""
        text = shown_lines(text)  # a file's name may hold what a terminal obeys
        if not self.rich.is_terminal:
            return text
        width = self.rich.width
        return "\n".join(fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))

    @contextmanager
    def progress(self, what: str, total: int, *, unit: str = "images") -> Iterator[Advance]:
        """Progress of work whose size is known. Yields `advance(done, note)`; an empty note leaves the last one.

        Args:
            unit: what is counted, for the rate: `images`, `steps`, …
        """
        with self._open(what, total, unit) as tell:

            def advance(to: int, note: str = "") -> None:
                tell(to, total, note)

            yield advance

    @contextmanager
    def counting(self, what: str, *, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
        """Progress of work whose size is known only once it starts. Yields `tell(done, total)`."""
        with self._open(what, None, unit) as tell:
            yield lambda done, total: tell(done, total, "")

    @contextmanager
    def _open(self, what: str, total: int | None, unit: str) -> Iterator[Callable[[int, int, str], None]]:
        if self.rich.quiet:
            yield lambda done, total, note: None  # noqa: ARG005
            return
        live = self.rich.is_terminal and not self.rich.is_dumb_terminal
        outermost = self._bars is None
        bars = self._bars = self._bars or _Bars(self.rich, live=live)
        row = bars.add_task(what, total=total, unit=unit, note="")
        due, last = bars.get_time() + LOG_EVERY_SECONDS, ""

        def tell(done: int, total: int, note: str) -> None:
            nonlocal due, last
            last = note or last
            bars.update(row, completed=done, total=total, note=last)
            if not live and bars.get_time() >= due:
                due = bars.get_time() + LOG_EVERY_SECONDS
                self.say(log_line(next(task for task in bars.tasks if task.id == row)))

        if outermost:
            bars.start()
        try:
            yield tell
        finally:
            bars.remove_task(row)
            if outermost:
                self._bars = None
                bars.stop()


class _Bars(Progress):
    """All open pieces of work in one live display (a terminal has room for one): a row each, and their notes below."""

    def __init__(self, console: rich.console.Console, *, live: bool) -> None:
        super().__init__(console=console, transient=True, disable=not live, refresh_per_second=_REFRESHES_PER_SECOND,
                         speed_estimate_period=_SPEED_SECONDS)  # fmt: skip

    def stop(self) -> None:
        if not self.disable:  # rich ends a display without cursor control with an empty line
            self.live.stop()

    def get_renderables(self) -> Iterable[rich.console.RenderableType]:
        tasks = self.tasks
        if not tasks:  # rich asks once before it has a console
            return
        widest = max(12, self.console.width - _FIXED_WIDTH)
        table = Table(
            Column(width=1), Column(no_wrap=True, max_width=widest, overflow="ellipsis"), Column(ratio=1, min_width=6),
            *(Column(no_wrap=True, overflow="crop", justify="right") for _ in range(4)),
            box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False, expand=True,
        )  # fmt: skip
        for task in tasks:
            table.add_row(self._spinner(task), Text(shown(task.description)), _bar(task), *map(Text, figures(task)))
        yield table
        yield from (
            Text(f"  {task.fields['note']}", style="dim", no_wrap=True, overflow="ellipsis")
            for task in tasks
            if task.fields["note"]
        )

    def _spinner(self, task: Task) -> rich.console.RenderableType:
        return Text("✓", style="green") if task.finished else _SPINNER


_SPINNER = Spinner("dots")


def _bar(task: Task) -> ProgressBar:
    """It pulses until the total is known."""
    return ProgressBar(total=task.total, completed=task.completed, animation_time=task.elapsed)


def figures(task: Task) -> tuple[str, str, str, str]:
    """Done/total, rate, elapsed and remaining time of a row; `…` and blanks for what is not known yet."""
    counts = "…" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}"
    speed = task.finished_speed or task.speed
    rate = "" if not speed else f"{speed:.{1 if speed < 99.95 else 0}f} {task.fields['unit']}/s"
    remaining = "" if task.total is None else f"ETA {_clock(task.time_remaining)}"
    return counts, rate, _clock(task.elapsed or 0.0), remaining


def log_line(task: Task) -> str:
    """`Training 143/812 (18%), 12.3 steps/s, 0:11 elapsed, ETA 0:54; loss 1.234`."""
    counts, rate, elapsed, remaining = figures(task)
    share = f" ({task.percentage:.0f}%)" if task.total else ""
    parts = [f"{task.description} {counts}{share}", rate, f"{elapsed} elapsed", remaining]
    note = task.fields["note"]
    return ", ".join(part for part in parts if part) + (f"; {note}" if note else "")


def _clock(seconds: float | None) -> str:
    """`0:07`, `12:34`, `1:02:03`; `-:--` when it is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _show() -> None:
    """A training of 300 steps with three evaluations, as it looks."""
    from time import sleep

    console = Console()
    with console.progress("Training", 300, unit="steps") as advance:
        for step in range(1, 301):
            sleep(0.02)
            advance(step, f"loss {3 / step**0.3:.3f}" if step % 10 == 0 else "")
            if step % 100 == 0:
                with console.counting("Evaluating") as tell:
                    for done in range(0, 401, 40):
                        sleep(0.1)
                        tell(done, 400)
                console.say(f"Step   {step}: macro-F1 {step / 400:.3f}")


if __name__ == "__main__":
    _show()
