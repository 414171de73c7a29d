"""Flags of the verbs themselves that several of them share. Flags that set a setting are in `flags.py`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

if TYPE_CHECKING:
    from typer._click import Context

Resume = Annotated[
    str | None,
    typer.Option(
        "--resume", metavar="<run>", rich_help_panel="Training",
        help="Continue a run or a study exactly where it stopped: its name, its path, or `latest`. With --steps: train "
        "a run longer.",
    ),
]  # fmt: skip
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", metavar="", rich_help_panel="Training",
        help="Check the configuration and the data, run two steps, print what all of it would cost. Writes nothing.",
    ),
]  # fmt: skip
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds", min=2, metavar="<number>", rich_help_panel="Training",
        help="Split the labels into this many parts by group and train a run without each of them: every label is then "
        "predicted by a model that has not seen its group, and the runs predict together.",
    ),
]  # fmt: skip
Repeats = Annotated[
    int | None,
    typer.Option(
        "--repeats", min=1, metavar="<number>", rich_help_panel="Training",
        help="With --folds: do it on this many splits; not set: on one.",
    ),
]  # fmt: skip
Refit = Annotated[
    bool,
    typer.Option(
        "--refit", metavar="", rich_help_panel="Training",
        help="With --folds: also train one model on all labels, for as many steps as suit the folds.",
    ),
]  # fmt: skip


class Engine(StrEnum):
    """As `ssl_mask.cluster.Engine`."""

    local = "local"
    ray = "ray"


EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine", rich_help_panel="Output",
        help="Who works: `local`, this machine; `ray`, the processes of the cluster that RAY_ADDRESS or `ray start` "
        "names, else of a local Ray that is started and stopped. The results are the same.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", rich_help_panel="Output", help="Print nothing but errors.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", rich_help_panel="Output",
        help="Print one JSON object to stdout, errors included; messages and progress go to stderr.",
    ),
]  # fmt: skip


RunName = Annotated[str, typer.Argument(metavar="<run>", help="A run or a study: its name, its path, or `latest`.")]
"""Of verbs that show one: `sslmask report study-001`."""
GroupRegex = Annotated[
    str | None,
    typer.Option(
        "--group-regex", metavar="<text>", rich_help_panel="Data", show_default="that of the data set",
        help="The group (person) is what this regular expression finds in the path of an image (its first group, "
        "or the whole match). An image without a group is a group of its own.",
    ),
]  # fmt: skip
"""Of verbs that take images which no layout reads."""
Full = Annotated[
    bool, typer.Option("--full", metavar="", rich_help_panel="Output", help="Let each small image link to its file.")
]
Text = Annotated[
    bool,
    typer.Option(
        "--text", metavar="", rich_help_panel="Output", help="Print the same facts in short. Writes no page."
    ),
]  # fmt: skip


def run_option(what: str) -> Any:
    """`--run` of a verb that uses one; `what` says which."""
    return typer.Option(
        "--run", "-r", metavar="<run>", rich_help_panel="Data", help=f"{what}: its name, its path, or `latest`."
    )  # fmt: skip


def image_option(default: str) -> Any:
    """`--images` of a verb that looks at some; `default` says at which otherwise."""
    return typer.Option(
        metavar="<path>", rich_help_panel="Data", show_default=default,
        help="A folder, one image, a quoted glob, or a CSV with an image column.",
    )  # fmt: skip


def out_option(default: str, what: str) -> Any:
    """`--out` of a verb that writes `what`; `default` says where it is written otherwise."""
    return typer.Option(metavar="<path>", rich_help_panel="Output", show_default=default, help=what)


def page_file(default: str) -> Any:
    """`--out` of a verb that writes a page."""
    return out_option(default, "The HTML file to write.")


def tta_option(what: str) -> Any:
    """`--tta` of a verb that predicts; `what` says when the mirrored view is added."""
    return typer.Option("--tta", metavar="", rich_help_panel="Prediction", help=what)


class Verb(TyperCommand):
    """Refuses what a command line can only mean by mistake; shows `--help` in the last group of the help."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """An empty value (`--data "$UNSET"`) would be taken for this folder, and of two values one would be dropped.

        Raises:
            UsageError: an option without a value, or given twice where it takes one.
        """
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option in dict.fromkeys(o for o in order if isinstance(o, TyperOption)):
            given, name = values[str(option.name)], max(option.opts, key=len)
            if order.count(option) > 1 and not option.multiple:
                ctx.fail(f"{name} is given twice. Give it once.")
            if any(isinstance(g, str) and not g.strip() for g in (given if isinstance(given, list) else [given])):
                ctx.fail(f"{name} is empty. Give it a value, or leave it out.")
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Context) -> TyperOption | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel, option.metavar = "Output", ""
        return option


def command(
    app: typer.Typer, *examples: str, name: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a command of `app`, with examples at the end of its help.

    Args:
        name: of the command, where it is not that of the function.
    """
    return app.command(name, cls=Verb, epilog="\n".join(["Examples:", *(f"$ {example}" for example in examples)]))


def check_engine(engine: Engine) -> Any:
    """The engine; raises InputError where Ray is asked for and not installed."""
    if engine == Engine.ray:
        from ssl_mask.cluster import ray

        ray()
    return engine.value
