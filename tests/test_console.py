"""Progress as a person reads it: on a screen of 80 columns, and in a log; with a clock that the test moves."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest
import rich.console

from ssl_mask.console import Console


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def on_screen(clock: Clock, width: int = 80) -> Console:
    console = Console()
    console.rich = rich.console.Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=width, get_time=clock, soft_wrap=True
    )
    return console


def in_log(clock: Clock) -> tuple[Console, io.StringIO]:
    console, log = Console(), io.StringIO()
    console.rich = rich.console.Console(file=log, width=80, get_time=clock, soft_wrap=True, highlight=False)
    return console, log


def seen(console: Console) -> list[str]:
    """The rows that stand on the screen now."""
    assert console._bars is not None
    paper = io.StringIO()
    rich.console.Console(file=paper, width=console.rich.width).print(console._bars.get_renderable(), soft_wrap=True)
    return [line.rstrip() for line in paper.getvalue().splitlines()]


def test_counting_shows_the_total_that_it_is_told_with_rate_and_time_left(clock: Clock) -> None:
    console = on_screen(clock)
    with console.counting("Comparing val with train") as tell:
        assert "…" in seen(console)[0] and "/" not in seen(console)[0]
        for done in (11, 77, 143):
            clock.now += 1
            tell(done, 812)
        row = seen(console)[0]
    # 132 images in the 2 seconds between the first and the last tell; 669 are left
    assert "143/812" in row and "66.0 images/s" in row and "0:03" in row and "ETA 0:11" in row


def test_a_new_total_starts_a_new_estimate(clock: Clock) -> None:
    """Comparing counts blocks first and pairs then."""
    console = on_screen(clock)
    with console.counting("Comparing") as tell:
        for done, total in ((1, 3), (3, 3), (10, 1000), (20, 1000)):
            clock.now += 1
            tell(done, total)
        assert "20/1000" in seen(console)[0] and "10.0 images/s" in seen(console)[0]


def test_evaluation_inside_of_training_has_a_row_of_its_own(clock: Clock) -> None:
    console = on_screen(clock)
    with console.progress("Training", 20, unit="steps") as advance:
        advance(1, "loss 1.234")
        clock.now += 2
        advance(2)
        with console.progress("Evaluating", 64) as inner:
            inner(32)
            training, evaluating, note = seen(console)
        assert len(seen(console)) == 2
    assert "Training" in training and "2/20" in training and "0.5 steps/s" in training and "ETA 0:36" in training
    assert "Evaluating" in evaluating and "32/64" in evaluating
    assert note.strip() == "loss 1.234", "an empty note leaves the last one"
    assert console._bars is None


def test_an_error_ends_the_display(clock: Clock) -> None:
    console = on_screen(clock)
    with pytest.raises(ValueError, match="broken"), console.progress("Training", 20), console.counting("Evaluating"):
        raise ValueError("broken")
    with console.progress("Predicting", 3) as advance:
        advance(1)
        assert "Predicting" in seen(console)[0] and len(seen(console)) == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_row_is_longer_than_the_screen(clock: Clock, width: int) -> None:
    console = on_screen(clock, width)
    with console.counting("Predicting with " + "a-run-with-a-very-long-name/" * 4) as tell:
        for done in (1, 14_300):
            clock.now += 1900
            tell(done, 81_200)
        with console.progress("Evaluating", 20) as advance:
            advance(3, "loss 1.23 (labeled 1.2, unlabeled 3.4)" * 5)
            rows = seen(console)
    assert len(rows) == 3 and max(map(len, rows)) <= width
    assert "14300/81200" in rows[0] and "ETA" in rows[0]


def test_a_log_gets_a_line_every_ten_seconds_and_no_bar(clock: Clock) -> None:
    console, log = in_log(clock)
    with console.progress("Training", 100, unit="steps") as advance:
        for step in range(1, 51):
            clock.now += 0.5
            advance(step, f"loss {step}.0")
    lines = log.getvalue().splitlines()
    assert lines == [
        "Training 20/100 (20%), 2.0 steps/s, 0:10 elapsed, ETA 0:40; loss 20.0",
        "Training 40/100 (40%), 2.0 steps/s, 0:20 elapsed, ETA 0:30; loss 40.0",
    ]


def test_quick_work_leaves_nothing_in_a_log(clock: Clock) -> None:
    console, log = in_log(clock)
    with console.counting("Reading") as tell:
        tell(5, 5)
    assert log.getvalue() == ""


def test_quiet_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    with console.progress("Training", 2) as advance, console.counting("Reading") as tell:
        advance(1, "note")
        tell(1, 2)
        console.say("line")
        console.warn("warning")
    assert capfd.readouterr() == ("", "")


def test_a_path_is_not_broken(capfd: pytest.CaptureFixture[str]) -> None:
    path = "/data/" + "a folder/" * 40 + "image[1].jpg"
    Console().say(f"Saved  {path}")
    Console().warn(f"{path} is unreadable")
    assert capfd.readouterr().out == f"Saved  {path}\nNote: {path} is unreadable\n"


def test_messages_follow_what_stdout_is_at_the_moment(capfd: pytest.CaptureFixture[str]) -> None:
    """So `--json` leaves standard output to the answer."""
    console = Console()
    with redirect_stdout(sys.stderr):
        console.say("inside")
        Console().warn("too")
    console.say("outside")
    assert capfd.readouterr() == ("outside\n", "inside\nNote: too\n")


def test_advance_costs_next_to_nothing() -> None:
    """It is called every step: most calls must not draw, which costs as much as to print a line."""
    console = on_screen(Clock())

    def seconds(call: Callable[[int], object]) -> float:
        began = time.process_time()
        for step in range(500):
            call(step)
        return time.process_time() - began

    lines = min(seconds(lambda step: console.rich.print(f"Training {step} of 500 steps")) for _ in range(3))
    with console.progress("Training", 500, unit="steps") as advance:
        assert min(seconds(advance) for _ in range(3)) < lines / 2


def test_a_terminal_breaks_lines_between_words_and_no_path() -> None:
    path, out = "/data/" + "long-folder-name/" * 6 + "photo.jpg", io.StringIO()
    console = Console()
    console.rich = rich.console.Console(
        file=out, force_terminal=True, color_system=None, width=60, highlight=False, soft_wrap=True
    )
    text = f"Saved a table of predictions for all of the 840 images here: {path} and nothing else"
    console.say(text)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert " ".join(lines).split() == text.split()
    assert path in lines
