"""`sslmask runs`: `list` (also without a word), `show`, `compare`, `rm` and `gc`."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, RunName, command
from ssl_mask.cli.output import answering
from ssl_mask.cli.runs_table import listing_answer, print_tables
from ssl_mask.errors import InputError
from ssl_mask.text import megabytes, shown

if TYPE_CHECKING:
    from pathlib import Path

    from typer._click import Context


class Listing(TyperGroup):
    """`sslmask runs` without a word lists."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Listing, help="List the runs, studies and galleries; show, compare or remove them.", add_completion=False,
    epilog="Without a word: list.",
)  # fmt: skip
Yes = Annotated[
    bool, typer.Option("--yes", "-y", metavar="", rich_help_panel="Output", help="Remove without being asked.")
]


@command(app, "sslmask runs list --all", "sslmask runs list --runs elsewhere --json", name="list")
@takes("runs", files=False)
def runs(
    given: Given,
    every: Annotated[
        bool,
        typer.Option("--all", metavar="", help="Also what studies are made of: their folds, seeds, rounds, trials."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the runs and studies with their scores, and the galleries. The same as `sslmask runs` without a word."""
    with answering(as_json) as answer:
        from ssl_mask.runs.listing import list_entries

        folder = given.alone().runs
        entries = [*list_entries(folder, members=every or as_json)]
        answer(listing_answer(entries, folder))
        if as_json:
            return
        if not entries:
            print(f"No runs in {folder.absolute()}. Make one: sslmask train")
        print_tables(entries, folder, shutil.get_terminal_size().columns)
        for entry in entries:
            if entry.damage:
                print(shown(f"damaged: {entry.damage}"))


@command(app, "sslmask runs show", "sslmask runs show study-001 --json")
@takes("runs", files=False)
def show(given: Given, run: RunName = "latest", as_json: Json = False) -> None:
    """Show a run, a study or a gallery: its card, what it takes on the disk, what it builds on and what needs it."""
    with answering(as_json) as answer:
        from ssl_mask.reports.entry_page import entry_page, find_entry, look_at
        from ssl_mask.reports.terminal import show_page

        folder = given.alone().runs
        found = look_at(find_entry(run, folder), folder)
        answer(found.to_json())
        if not as_json:
            show_page(entry_page(found))


@command(app, "sslmask runs compare train-001 train-002", "sslmask runs compare study-001 study-002 study-003 --json")
@takes("runs", files=False)
def compare(
    given: Given,
    names: Annotated[
        list[str],
        typer.Argument(metavar="<run>", help="Runs, studies or galleries. Each is compared with the one named first."),
    ],
    as_json: Json = False,
) -> None:
    """Compare runs or studies: the paired difference in macro-F1 with its interval by group, cost, and settings.

    Only images count that both have predicted without being trained on them. What shares none is refused.
    """
    with answering(as_json) as answer:
        from ssl_mask.reports.compared import compare_sources
        from ssl_mask.reports.compared_page import comparison_page
        from ssl_mask.reports.terminal import show_page

        found = compare_sources(names, given.alone().runs)
        answer({"runs": [one.to_json() for one in found]})
        if not as_json:
            show_page(comparison_page(found))


@command(app, "sslmask runs rm train-003", "sslmask runs rm train-003 study-001 --yes")
@takes("runs", files=False)
def rm(
    given: Given,
    names: Annotated[
        list[str],
        typer.Argument(metavar="<run>", help="Runs, studies or galleries in the folder of runs, by name or path."),
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove runs, studies or galleries, after a question. They cannot be got back.

    Refused: what another run, study, gallery or exported network builds on, and what a process works on.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.removal import alone_in, find_entries, in_order, remove, size_of

        folder = given.alone().runs
        paths = in_order(find_entries(names, folder), folder)
        sizes = {str(path): size_of(path) for path in paths}
        for path in paths:
            print(shown(f"{megabytes(sizes[str(path)]):>9}  {path}{exported_inside(path)}"))
        if not agreed(f"Remove {'this' if len(paths) == 1 else f'these {len(paths)}'} for good?", yes):
            answer({"removed": {}})
            return
        with alone_in(folder):
            remove(in_order(find_entries(names, folder), folder))  # asked again: the answer may have taken a while
        answer({"removed": sizes})
        print(f"Removed {megabytes(sum(sizes.values()))}.")


@command(app, "sslmask runs gc", "sslmask runs gc --yes --json")
@takes("runs", files=False)
def gc(given: Given, yes: Yes = False, as_json: Json = False) -> None:
    """Remove what is of no more use, after a question: failed runs, remains of killed processes, old saved states.

    A finished run needs its saved state only to be trained longer (--resume with --steps). What can be continued stays,
    and so does what another run, study, gallery or exported network builds on. Without a terminal and without --yes it
    only lists.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.garbage import find_garbage, remove_garbage
        from ssl_mask.runs.removal import alone_in

        folder = given.alone().runs
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder.absolute()}.", hint="Name the folder of runs: --runs FOLDER")
        with alone_in(folder):
            found = find_garbage(folder)
        for one in found:
            print(shown(f"{megabytes(one.bytes):>9}  {one.name}: {one.why}"))
        total = megabytes(sum(one.bytes for one in found))
        listed = [one.to_json() for one in found]
        if not found or not (yes or sys.stdin.isatty()):
            answer({"found": listed, "freed": 0})
            print(f"{total} may go. Remove them: sslmask runs gc --yes" if found else "Nothing to remove.")
            return
        freed = 0
        if agreed(f"Remove these ({total}) for good?", yes):
            with alone_in(folder):
                freed = remove_garbage(found, folder)
            print(f"Removed {megabytes(freed)}.")
        answer({"found": listed, "freed": freed})


def agreed(question: str, yes: bool) -> bool:
    """Whether the user agrees. Raises InputError where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("Nothing was removed: there is no terminal to ask at.", hint="Add --yes to remove.")
    return typer.confirm(question)


def exported_inside(path: Path) -> str:
    """That exported networks go with it."""
    found = sorted(file.name for file in (path / "export").glob("*.onnx"))
    return f"  (with {', '.join(found)})" if found else ""
