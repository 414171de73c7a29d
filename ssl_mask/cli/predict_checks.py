"""What `sslmask predict` refuses before it loads anything: options that exclude each other, files that are missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.errors import InputError

NETWORKS_ALONE = "It is about what the networks say alone."
EXCLUDED = {
    "--engine ray": {"--neighbours": NETWORKS_ALONE, "--unknown": NETWORKS_ALONE},
    "--shard": {
        "--on-bad fallback": "An unreadable image gets no pseudo-label: use skip.",
        "--names": "A shard always holds the names of the classes.",
        "--guard": "A shard is not-checked; `sslmask pseudo --from-predictions` checks the images that it selects.",
        "--neighbours": NETWORKS_ALONE,
        "--unknown": NETWORKS_ALONE,
        "--sets": NETWORKS_ALONE,
    },
}
"""Option -> those that it would ignore, and why. With Ray, `--sets` is allowed: this process computes them."""
OF_A_RUN = ("--weights oof", "--neighbours", "--unknown", "--sets", "--shard", "--engine ray")
"""Needs more than an exported network is."""


def refuse_excluded(asked: Mapping[str, bool], runs: Sequence[str]) -> None:
    """Refuse options that exclude each other, or that would be ignored.

    Args:
        asked: option -> whether it was given.
        runs: what `--run` names.

    Raises:
        InputError: names both, and why.
    """
    from ssl_mask.runs.find import is_exported

    if exported := next((run for run in runs if is_exported(run)), None):
        if len(runs) > 1:
            raise InputError(
                f"{exported} predicts alone, but there are {len(runs)} --run.",
                hint="Give one --run. To export several networks as one, export their study.",
            )
        for option in (option for option in OF_A_RUN if asked[option]):
            raise InputError(
                f"{exported} is an exported network, which cannot be used with {option}.",
                hint="Predict with the run that it was made from.",
            )
    if asked["--weights oof"] and len(runs) < 2:
        raise InputError(
            "--weights oof weighs several --run, but there is one.", hint="The runs of a study always count equally."
        )
    if asked["--shard"] and len(runs) > 1:
        raise InputError("--shard takes one --run.", hint="Pseudo-labels are calibrated on one run's validation.")
    for option, excluded in EXCLUDED.items():
        for other, why in excluded.items():
            if asked[option] and asked[other]:
                raise InputError(f"{option} cannot be used with {other}.", hint=why)


def parse_shard(text: str) -> tuple[Sequence[int], int]:
    """`3/10` as ([3], 10): shard 3 of 10, from 0; `all/10`: each of them. Raises InputError where it is no shard."""
    match = re.fullmatch(r"([0-9]+|all)/([0-9]+)", text)
    first = 0 if match is None or match[1] == "all" else int(match[1])
    if match is None or not first < int(match[2]) < 100_000:
        raise InputError(
            f"--shard {text!r} is not a shard.", hint="Shards count from 0: 0/10, 1/10, … 9/10; or all/10."
        )
    return range(int(match[2])) if match[1] == "all" else [first], int(match[2])


def check_sources(runs: list[str], folder: Path, images: str | None, out: Path | None) -> None:
    """Refuse what is not there.

    Raises:
        DataError: no such run, no such images. StorageError: nothing can be written there.
    """
    from ssl_mask.data.layouts import images as layout
    from ssl_mask.runs.sources import find_source

    found = [find_source(run, folder) for run in runs]
    if images is not None:
        layout.find_source(images, [Path.cwd()], flag="--images")
    check_folder_to_write(out or (found[0].path if len(found) == 1 else folder), "--out")
