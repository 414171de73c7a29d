"""`sslmask augment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_file_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import command
from ssl_mask.config import resolve

app = typer.Typer(add_completion=False)


@command(app, "sslmask augment", "sslmask augment --preset competition --photos 3 --out look.png")
@takes("data.root", "augment.preset", "seed", shown={"augment.preset": "all of them"})
def augment(
    given: Given,
    out: Annotated[Path, typer.Option(metavar="<path>", rich_help_panel="Output", help="The PNG to write.")] = Path(
        "augment.png"
    ),
    photos: Annotated[int, typer.Option(min=1, max=64, rich_help_panel="Output", help="Rows, one per image.")] = 6,
    views: Annotated[int, typer.Option(min=1, max=32, rich_help_panel="Output", help="Augmented views per image.")] = 7,
) -> None:
    """Show what an augmentation preset does to your images.

    Draws a contact sheet: one row per image, the original first, then augmented views of it.
    """
    check_file_to_write(out, "--out")
    settings = resolve(given.layers(), has_gpu=lambda: False)
    from ssl_mask.workflows.augment import augment as draw

    preset = given.flags.get("augment.preset")
    written = draw(settings, out, preset=preset, photos=photos, views=views)
    print(f"Saved {written}")
