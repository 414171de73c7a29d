"""`sslmask audit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_mask.cli.early import check_file_to_write, check_folder, check_folder_to_write
from ssl_mask.cli.flags import DECLARED, Given, takes
from ssl_mask.cli.options import Engine, EngineOption, Json, Quiet, check_engine, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.config import resolve
from ssl_mask.errors import ConfigError

if TYPE_CHECKING:
    from ssl_mask.console import Console
    from ssl_mask.guard.findings import Role
    from ssl_mask.guard.self_test import SelfTest
    from ssl_mask.workflows.audit import Audit

app = typer.Typer(add_completion=False)


def _images(of: str) -> Any:
    return typer.Option(
        metavar="<path>", rich_help_panel="Data", show_default="those of the data set",
        help=f"{of} images: a folder, quoted glob or CSV with an image column. May be repeated.",
    )  # fmt: skip


@command(
    app,
    "sslmask audit --unlabeled extra --drop-list drop.csv",
    'sslmask audit --train "mine/*.jpg" --test others --out cards',
)
@takes("data.root", "data.unlabeled", "guard.allow", *DECLARED, shown={"data.unlabeled": "those of the data set"})
def audit(
    given: Given,
    train: Annotated[list[str] | None, _images("Training")] = None,
    val: Annotated[list[str] | None, _images("Validation")] = None,
    test: Annotated[list[str] | None, _images("Test")] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Output",
            help="Folder for audit.json, the data cards and the picture of the pairs.",
        ),
    ] = Path("data_cards"),
    drop_list: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Output",
            help="Write a CSV of the images to leave out. No image is ever deleted.",
        ),
    ] = None,
    self_test: Annotated[
        int | None,
        typer.Option(
            metavar="<number>",
            min=1,
            rich_help_panel="Leakage guard",
            help="Alter so many of your test photos in 25 ways in memory, plant the copies among the pool, and say "
            "what share of them is found. 200 is a good number; all, where there are fewer.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, rich_help_panel="Output", show_default="one per core", help="Processes that read images."
        ),
    ] = None,
    engine: EngineOption = Engine.local,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find copies and shared persons between training, validation, test and unlabeled images.

    Finds copies by their bytes, by their pixels and by what they show, and groups (persons) that are in two sets.
    Where two sets are named, only these are compared; --data adds the others of a data set.

    Writes audit.json and a data card per set of images.

    Exit code 0: nothing is refused. 3: labeled images overlap. 4: unlabeled images overlap, and nobody declared it.
    6: the check is incomplete.
    """
    sources: dict[Role, list[str] | None] = {
        "train": train, "val": val, "test": test, "unlabeled": given.flags.get("data.unlabeled"),
    }  # fmt: skip
    with answering(as_json) as answer:
        if processes is not None and engine == Engine.ray:
            raise ConfigError(
                "--processes counts processes of this machine; with --engine ray there are as many as the cluster has "
                "cores.", hint="Leave one of them out.",
            )  # fmt: skip
        settings = resolve(given.layers(quiet=quiet), has_gpu=lambda: False)
        check_folder_to_write(out, "--out")
        if drop_list is not None:
            check_file_to_write(drop_list, "--drop-list")
        with loading("the image libraries", quiet=quiet, as_json=as_json):
            executor = check_engine(engine)
            if train is None and sum(map(bool, sources.values())) < 2:
                check_folder(settings)
            from ssl_mask.guard.policy import Declaration, enforce
            from ssl_mask.workflows.audit import audit as run_audit

        guard = settings.guard
        is_declared = guard.transductive or guard.reason or guard.allowed_by
        result = run_audit(
            settings,
            {role: paths for role, paths in sources.items() if paths},
            allow=guard.allow,
            declared=Declaration(guard.reason or "", guard.allowed_by or "") if is_declared else None,
            out=out,
            drop_list=drop_list,
            self_test=self_test,
            processes=processes,
            engine=executor,
            quiet=quiet,
        )
        answer(json.loads(result.report.read_text(encoding="utf-8")))
        if not quiet and not as_json:
            show(result)
        enforce(result.verdict)


def show(result: Audit) -> None:
    """Print what was found as a table, then what follows and where everything is."""
    from rich.table import Column, Table

    from ssl_mask.console import Console
    from ssl_mask.guard.findings import KINDS, compared
    from ssl_mask.text import shown

    findings, verdict, console = result.findings, result.verdict, Console()
    unchecked = {(u.first_pool, u.second_pool) for u in findings.not_checked}
    title = "Pairs of images that are the same, and shared groups"
    prepared = any(pair.kind == "source" for pair in findings.pairs)
    kinds = [kind for kind in KINDS if kind != "source" or prepared]
    # With one more column, what has several words is broken between them: 80 characters have to do.
    table = Table(*(Column(name, no_wrap=not prepared) for name in ("pools", *kinds, "conflict")), title=title)
    for first, second in ((a.name, b.name) for a, b in compared(findings.pools)):
        pairs = [p for p in findings.pairs if (p.first_pool, p.second_pool) == (first, second)]
        counts = [str(sum(p.kind == kind for p in pairs)) for kind in kinds]
        counts[-1] = "NOT CHECKED" if (first, second) in unchecked else counts[-1]
        name = f"within {first}" if first == second else f"{second} x {first}"
        table.add_row(name, *counts, str(sum(p.is_conflict for p in pairs)))
    console.rich.print(table)
    for pool in findings.pools:
        status, reason = verdict.outcome(pool)
        if status:
            why = f" ({reason})" if status != "refused" else ""  # the error says why
            console.say(f"{shown(pool.name)}: scores on these {len(pool.files)} images are {status}{why}")
    for text in verdict.warnings:
        console.warn(text)
    if result.self_test is not None:
        show_self_test(result.self_test, console)
    if result.sheet is not None:
        console.say(f"Look   {result.sheet}")
    if result.drop_list is not None:
        console.say(f"Drop   {sum(map(len, verdict.drops.values()))} images to leave out are in {result.drop_list}")
    console.say(f"Saved  {result.report} and {len(result.cards)} cards beside it")


def show_self_test(tested: SelfTest, console: Console) -> None:
    """Print the recall of each alteration as a table, and what it says in one sentence."""
    from rich.table import Column, Table

    from ssl_mask.text import shown

    columns = ("planted", "found", "only to review", "recall", "95 % interval")
    table = Table("alteration", *(Column(name, justify="right") for name in columns), title="Self-test")
    for each in tested.alterations:
        value, low, high = each.recall
        scores = (f"{value:.3f}", f"{low:.3f} to {high:.3f}") if each.planted else ("", "")
        table.add_row(each.alteration, str(each.planted), str(each.found), str(each.review), *scores)
    console.rich.print(table)
    fewer = "all" if tested.photos == tested.of else f"{tested.photos} of the"
    console.say(
        f"Self-test: {tested.sentence} ({fewer} {tested.of} photos of {shown(tested.pool)}, planted into "
        f"{shown(tested.among)}; the search is {tested.search})"
    )
