"""`sslmask augment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.options import Assignments, ConfigFile, DataFolder, gather


def augment(
    preset: Annotated[str | None, typer.Option(help="none, flip, light, competition or strong. [default: all]")] = None,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("augment.png"),
    photos: Annotated[int, typer.Option(min=1, max=64, help="Rows.")] = 6,
    views: Annotated[int, typer.Option(min=1, max=32, help="Augmented views a photo.")] = 7,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Show what an augmentation preset does to your photos, as a contact sheet."""
    from ssl_mask.config import resolve

    flags = {"data.root": str(data) if data is not None else None, "seed": seed}
    layers = gather(config, assignments, flags)
    from ssl_mask.reports.augment_sheet import contact_sheet

    settings = resolve(layers, has_gpu=lambda: False)
    written = contact_sheet(settings, out, preset=preset, photos=photos, views=views)
    typer.echo(f"Saved {written}")
