"""`sslmask audit`: compare pools of images, judge what was found, write cards. Reads images, never touches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_mask import cluster
from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.devices import cores
from ssl_mask.errors import nothing_written
from ssl_mask.files import atomic_path, storage, write_text
from ssl_mask.guard.allow import read_allow
from ssl_mask.guard.check import compare_pools, read_pools
from ssl_mask.guard.findings import Findings, Pool, Role, canonical
from ssl_mask.guard.policy import Declaration, Verdict, judge
from ssl_mask.guard.pools import cache_of
from ssl_mask.guard.self_test import SelfTest, refuse_self_test
from ssl_mask.guard.self_test import self_test as run_self_test
from ssl_mask.guard.sources import gather_pools
from ssl_mask.reports.data_card import pool_card, refuse_foreign, write_card
from ssl_mask.reports.pair_sheet import pair_sheet
from ssl_mask.text import csv_text

DROP_COLUMNS = ("path", "pool", "reason")
AUDIT = "urn:sslmask:audit:1"
REPORT = "audit.json"


@dataclass(frozen=True)
class Audit:
    """What an audit found, what follows from it, and the files that it wrote."""

    findings: Findings
    verdict: Verdict
    report: Path
    """`audit.json`: findings and verdict."""
    cards: tuple[Path, ...]
    sheet: Path | None
    """A picture of the pairs that were found; None when there are none."""
    drop_list: Path | None
    """The CSV of images to leave out, where one was asked for."""
    self_test: SelfTest | None = None
    """What share of altered copies of the user's own photos was found, where that was asked for."""


def audit(
    config: RunConfig,
    sources: Mapping[Role, Sequence[str]],
    *,
    allow: Path | None = None,
    declared: Declaration | None = None,
    out: Path = Path("data_cards"),
    drop_list: Path | None = None,
    self_test: int | None = None,
    processes: int | None = None,
    engine: cluster.Engine = "local",
    quiet: bool = False,
) -> Audit:
    """Find overlaps between pools; write `audit.json`, a card per pool and a contact sheet into `out`.

    Args:
        sources: role -> folders, globs and CSVs with an image column (maybe group and label columns too). The other
            roles are those of the data set, which is left aside where `train` or two roles are named and `data.root` is
            not.
        allow: pairs that may stay, see `ssl_mask.guard.allow`.
        declared: that unlabeled images of an evaluation pool are trained on.
        drop_list: a CSV to write with the images that should be left out.
        self_test: so many protected photos (all, where there are fewer), drawn by `config.seed`, are altered in 25 ways
            in memory, and the copies looked for among the pool: what share is found goes into report and cards. About
            as long as another audit and 0.1 s a photo; 0.5 MB of memory a photo.
        processes: of this machine that read images; not given: one per core.
        engine: `ray`: the processes of a cluster, or of a local Ray, read and compare; the same findings.

    Raises:
        DataError: no images, a bad row, a file in the way that is not ours, or no two pools for a self-test.
        StorageError: `out` or `drop_list` cannot be written.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}}, preset="laptop")
        >>> result = ssl_mask.audit(config, {"unlabeled": ["extra"]}, quiet=True)
        >>> result.verdict.exit_code  # altered copies of test images are among the unlabeled ones
        4
    """
    _refuse_files_in_the_way(out, drop_list)
    allowed = read_allow(allow) if allow is not None else ()
    console = Console(quiet=quiet)
    with nothing_written(), cluster.engine(engine):
        pools = _load(config, sources, console)
        findings, tested = _compared(config, pools, self_test, processes or cores(), console)
    roots = {p.name: p.root for p in pools}
    verdict = judge(findings, declared=declared, allowed=allowed)
    report = {"kind": AUDIT, "findings": findings.to_json(), "verdict": verdict.to_json(),
              "self_test": tested and tested.to_json()}  # fmt: skip
    write_text(out / REPORT, canonical(report))
    sheet = _sheet(findings, roots, out / "audit_pairs.png", config.data)
    cards = tuple(
        write_card(out, pool_card(findings, verdict, name, root=root, folder=out, declared=declared, self_test=tested))
        for name, root in roots.items()
    )
    if drop_list is not None:
        _write_drop_list(drop_list, findings, verdict, roots)
    return Audit(findings, verdict, out / REPORT, cards, sheet, drop_list, tested)


def _refuse_files_in_the_way(out: Path, drop_list: Path | None) -> None:
    """Before anything is read: raises DataError where a file is there that no audit wrote."""
    refuse_foreign(out / REPORT, AUDIT)
    if drop_list is not None:
        refuse_foreign(drop_list, ",".join(DROP_COLUMNS))


def _load(config: RunConfig, sources: Mapping[Role, Sequence[str]], console: Console) -> list[Pool]:
    """The pools to compare. Where several are named, or the training images, no data set is needed: it counts only
    where its folder is named too."""
    alone = ("train" in sources or len(sources) > 1) and "root" not in config.data.model_fields_set
    if alone:
        console.say(f"Data   only what is named is compared ({', '.join(sources)}); --data DIR adds a data set")
    # What is named here is read here: the notes on images that are not read must not mention it.
    named = (*config.data.unlabeled, *(source for given in sources.values() for source in given))
    dataset = None if alone else read_manifest(config.data.model_copy(update={"unlabeled": named}), console)
    return gather_pools(dataset, sources, base=config.data.root.absolute(), unlabeled=config.data.unlabeled)


def _compared(
    config: RunConfig, pools: Sequence[Pool], self_test: int | None, processes: int, console: Console
) -> tuple[Findings, SelfTest | None]:
    """What the pools share, and what share of altered copies is found, where that is asked for."""
    if self_test is not None:
        refuse_self_test(pools, self_test)  # before anything is read
    cache, counting, data = cache_of(config.data, pools), console.counting, config.data
    read = read_pools(
        pools, cache=cache, processes=processes, max_pixels=data.max_pixels, depth=data.depth, counting=counting
    )
    findings = compare_pools(read, cache=cache, processes=processes, counting=counting)
    if self_test is None:
        return findings, None
    tested = run_self_test(
        read, {p.name: p.root for p in pools}, photos=self_test, seed=config.seed, processes=processes,
        max_pixels=data.max_pixels, depth=data.depth, counting=counting,
    )  # fmt: skip
    return findings, tested


def _sheet(findings: Findings, roots: Mapping[str, Path], out: Path, config: DataConfig) -> Path | None:
    """The contact sheet of what matters: pairs between pools, and copies with different labels."""
    pairs = [p for p in findings.pairs if p.first_pool != p.second_pool or p.is_conflict]
    if pairs:
        return pair_sheet(pairs, roots, out, max_pixels=config.max_pixels, depth=config.depth)
    with storage(out):
        out.unlink(missing_ok=True)  # of an earlier audit: it would show what is no longer there
    return None


def _write_drop_list(path: Path, findings: Findings, verdict: Verdict, roots: Mapping[str, Path]) -> None:
    """One image a line: where it is, its pool, and what it overlaps."""
    lines: list[Sequence[str]] = [DROP_COLUMNS]
    for pool, drops in verdict.drops.items():
        why = _reasons(findings, pool)
        lines.extend([_from_here(roots[pool] / name), pool, why[name]] for name in drops)
    with atomic_path(path) as partial:
        # A file name that is not UTF-8 is written as the bytes that it has.
        partial.write_text(csv_text(lines), encoding="utf-8", errors="surrogateescape")


def _reasons(findings: Findings, pool: str) -> dict[str, str]:
    """Path -> the surest overlap of each image of a pool with a more protected one."""
    why: dict[str, str] = {}
    for pair in findings.pairs:
        if pair.second_pool == pool != pair.first_pool:
            if pair.kind == "group":
                for file in findings.pool(pool).by_group[pair.group]:
                    why.setdefault(file.path, f"group {pair.group} is also in {pair.first_pool}")
            else:
                why.setdefault(pair.second, f"{pair.kind} {pair.score:.2f} of {pair.first_pool} {pair.first}")
    return why


def _from_here(path: Path) -> str:
    """Relative to the working folder when it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
