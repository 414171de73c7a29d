"""What a person sees while something runs: lines, warnings, live progress. Quiet on all processes but the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich.console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Console:
    """A thin layer over rich; `quiet` shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.rich = rich.console.Console(quiet=quiet, soft_wrap=True, highlight=False)

    def say(self, text: str, *, style: str | None = None) -> None:
        self.rich.print(escape(text), style=style)

    def warn(self, text: str) -> None:
        self.rich.print(f"[yellow]Note:[/] {escape(text)}")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A live bar (on terminals only). Yields `advance(to, note)`."""
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.rich, transient=True, disable=not self.rich.is_terminal) as bar:
            task = bar.add_task(what, total=total, note="")
            yield lambda to, note="": bar.update(task, completed=to, note=note)  # type: ignore[misc]

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A live bar for work whose size is known only once it starts. Yields `advance(done, total)`."""
        with self.progress(what, 0) as advance:
            bar_total = 0

            def tell(done: int, total: int) -> None:
                nonlocal bar_total
                bar_total = total
                advance(done, f"of {bar_total}")

            yield tell
