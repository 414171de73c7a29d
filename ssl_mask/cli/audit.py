"""`sslmask audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.options import Assignments, ConfigFile, DataFolder, Quiet, gather

if TYPE_CHECKING:
    from ssl_mask.guard.findings import Role
    from ssl_mask.workflows.audit import Audit

Images = Annotated[list[str] | None, typer.Option(help="Folder, quoted glob or CSV. Repeatable.")]


def audit(
    train: Images = None,
    val: Images = None,
    test: Images = None,
    unlabeled: Annotated[
        list[str] | None, typer.Option("--unlabeled", "-u", help="Folder, quoted glob or CSV. Repeatable.")
    ] = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    allow: Annotated[
        Path | None, typer.Option(help="CSV of pairs that may stay: first,second,reason (paths or SHA-256).")
    ] = None,
    transductive: Annotated[
        bool,
        typer.Option("--transductive", help="Declare that unlabeled images of the test or validation set are used."),
    ] = False,
    reason: Annotated[str, typer.Option(help="With --transductive: who declares it, and why.")] = "",
    allowed_by: Annotated[str, typer.Option(help="With --transductive: which rule allows it.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for audit.json, cards and the contact sheet.")] = Path("data_cards"),
    drop_list: Annotated[
        Path | None, typer.Option(help="Write a CSV of the images to leave out. Nothing is ever deleted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json instead of a table.")] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="[default: one a core]")] = None,
    quiet: Quiet = False,
) -> None:
    """Find copies and shared groups between training, validation, test and unlabeled images; write data cards.

    Exit code 0: nothing is refused. 3: labeled images overlap. 4: unlabeled ones do, undeclared. 6: check incomplete.
    """
    from ssl_mask.config import resolve

    layers = gather(config, assignments, {"data.root": str(data) if data is not None else None})
    from ssl_mask.guard.policy import Declaration, enforce
    from ssl_mask.workflows.audit import audit as run_audit

    given: dict[Role, list[str] | None] = {"train": train, "val": val, "test": test, "unlabeled": unlabeled}
    result = run_audit(
        resolve(layers, has_gpu=lambda: False),
        {role: sources for role, sources in given.items() if sources},
        allow=allow,
        declared=Declaration(reason, allowed_by) if transductive or reason or allowed_by else None,
        out=out,
        drop_list=drop_list,
        processes=processes,
        quiet=quiet or as_json,
    )
    if as_json:
        typer.echo(result.report.read_text(encoding="utf-8"), nl=False)
    elif not quiet:
        show(result)
    enforce(result.verdict)


def show(result: Audit) -> None:
    """Print what was found as a table, then what follows and where everything is."""
    from rich.table import Column, Table

    from ssl_mask.console import Console
    from ssl_mask.guard.findings import KINDS, compared, shown

    findings, verdict, console = result.findings, result.verdict, Console()
    unchecked = {(u.first_pool, u.second_pool) for u in findings.not_checked}
    title = "Pairs of images that are the same, and shared groups"
    table = Table(*(Column(name, no_wrap=True) for name in ("pools", *KINDS, "conflict")), title=title)
    for first, second in ((a.name, b.name) for a, b in compared(findings.pools)):
        pairs = [p for p in findings.pairs if (p.first_pool, p.second_pool) == (first, second)]
        counts = [str(sum(p.kind == kind for p in pairs)) for kind in KINDS]
        counts[-1] = "NOT CHECKED" if (first, second) in unchecked else counts[-1]
        name = f"within {first}" if first == second else f"{second} x {first}"
        table.add_row(name, *counts, str(sum(p.is_conflict for p in pairs)))
    console.rich.print(table)
    for pool in findings.pools:
        if word := verdict.word(pool):
            console.say(f"{shown(pool.name)}: scores on these {len(pool.files)} images are {word}")
    for text in verdict.warnings:
        console.warn(text)
    if result.sheet is not None:
        console.say(f"Look   {result.sheet}")
    if result.drop_list is not None:
        console.say(f"Drop   {sum(map(len, verdict.drops.values()))} images to leave out are in {result.drop_list}")
    console.say(f"Saved  {result.report} and {len(result.cards)} cards beside it")
