"""`sslmask train --find-lr`: a learning rate range test of a configuration. Trains no run and leaves no weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import nothing_written
from ssl_mask.files import write_text
from ssl_mask.reports.lr_plot import write_lr_plot
from ssl_mask.text import csv_text
from ssl_mask.training.lr_range import MARGIN, LrRange, range_test
from ssl_mask.workflows.train import prepare

HIGHEST = {"adamw": 1.0, "adam": 1.0, "sgd": 10.0}
"""The last rate of the ramp: a step of Adam is about as long as its rate, one of SGD as its gradient times it."""


@dataclass(frozen=True)
class FoundLr:
    """A learning rate range test, and the files that it left."""

    range: LrRange
    table: Path
    """CSV: a row per step."""
    plot: Path

    @property
    def suggested(self) -> float | None:
        """`optim.lr`; None where the loss did not fall."""
        return self.range.suggested


def find_lr(config: RunConfig, *, steps: int = 100, out: Path = Path("find-lr.csv"), quiet: bool = False) -> FoundLr:
    """Train a few steps of the configuration's own recipe while the learning rate rises, and suggest a rate.

    Model, tuning, augmentation, loss and groups of weights are those of a run; each group keeps its share of
    `optim.lr`. The suggestion is half of the rate at which the smoothed loss is lowest.

    Args:
        steps: of the ramp, over six decades; ends earlier where the loss diverges.
        out: the CSV; the plot has the same name with `.svg`.

    Raises:
        SslMaskError: any bad input, as of `train`. Nothing is written then.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}}, preset="laptop")
        >>> found = ssl_mask.find_lr(config, steps=20, quiet=True)
        >>> found.plot.name
        'find-lr.svg'
        >>> len(found.range.rates) == len(found.range.losses) <= 20
        True
    """
    config.refuse_factors("A learning rate range test")
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    with nothing_written():
        session, _, _ = prepare(config, accelerator, console)
        with console.progress("Range test", steps, unit="steps") as advance:
            found = range_test(
                session, steps, lambda done, loss: advance(done, f"smoothed loss {loss:.3f}"),
                highest=HIGHEST[config.optim.optimizer],
            )  # fmt: skip
    result = FoundLr(found, out, out.with_suffix(".svg"))
    if accelerator.is_main_process:
        rows = zip(found.rates, found.losses, found.smoothed, strict=True)
        write_text(out, csv_text([("step", "lr", "loss", "smoothed"), *([n, *row] for n, row in enumerate(rows, 1))]))
        write_lr_plot(result.plot, found, config.optim.lr)
    tell(result, config.optim.lr, console)
    accelerator.wait_for_everyone()
    return result


def tell(result: FoundLr, configured: float, console: Console) -> None:
    """The suggestion, and how to use it."""
    found, rate = result.range, result.suggested
    if found.rates:
        how = "where the loss diverged" if found.diverged else "without divergence"
        console.say(f"Range  {len(found.rates)} steps from {found.rates[0]:.1e} to {found.rates[-1]:.1e}, {how}")
    if rate is None:
        console.warn("The smoothed loss does not fall anywhere in the range: no rate can be suggested.")
    else:
        console.say(
            f"Rate   {rate:.1e}, half of that of the lowest smoothed loss (configured: {configured:.1e}); to use it: "
            f"--set optim.lr={rate:.1e}"
        )
        if not found.diverged and rate * MARGIN == found.rates[-1]:
            console.warn(
                "The loss was lowest at the highest rate that was tried, so where it stops falling is not known: "
                "this rate may be far too high. Compare it with others (sslmask tune)."
            )
    console.say(f"Saved  {result.table} and {result.plot}; no run was made")
