"""The leakage guard before training: compare all that a run reads, refuse what overlaps or say what to leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.devices import broadcast, cores
from ssl_mask.errors import OverlapError
from ssl_mask.guard.allow import read_allow
from ssl_mask.guard.check import check
from ssl_mask.guard.copies.fingerprints import Fingerprints, fingerprint
from ssl_mask.guard.findings import COPIES, ROLES, Findings, Pool, Role
from ssl_mask.guard.origins import Origins, origins_of
from ssl_mask.guard.policy import TO_LABEL, Declaration, Verdict, enforce, judge
from ssl_mask.guard.pools import cache_of, pool_of
from ssl_mask.guard.status import Mark

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class GateResult:
    """What the guard says of the data of a run. Without findings it was off."""

    pools: tuple[Pool, ...] = ()
    findings: Findings | None = None
    verdict: Verdict | None = None
    declared: Declaration | None = None
    prints: Mapping[str, Fingerprints] = field(default_factory=dict)
    """Of each pool, in the order of its paths."""
    origins: Mapping[str, Origins] = field(default_factory=dict)
    """What the images of each pool were made of, in the same order."""

    @property
    def marks(self) -> dict[str, Mark]:
        """Digest of each evaluation pool -> mark."""
        return dict(self.verdict.marks) if self.verdict is not None else {}

    @property
    def mark(self) -> Mark:
        """The worst mark."""
        return self.verdict.mark if self.verdict is not None else Mark("not-checked", "the guard was off")

    @property
    def drops(self) -> bool:
        """Whether anything must be left out."""
        return self.verdict is not None and bool(self.verdict.drops)

    def dropped(self, pool: str) -> frozenset[str]:
        """Digests of the images of a pool that must be left out."""
        if self.verdict is None or self.findings is None:
            return frozenset()
        paths = set(self.verdict.drops.get(pool, ()))
        if not paths:
            return frozenset()
        return frozenset(f.sha256 for f in self.findings.pool(pool).files if f.path in paths)

    @property
    def sentence(self) -> str:
        """What was compared and found, the worst mark and its reason, in one line."""
        if self.findings is None:
            return self.mark.sentence
        copies = sum(p.kind in COPIES and p.first_pool != p.second_pool for p in self.findings.pairs)
        images = sum(len(p.files) for p in self.findings.pools)
        compared = f"{images:,} images of {len(self.findings.pools)} pools compared: {copies} copies between pools"
        return f"{compared}; {self.mark.sentence}"


def run_gate(
    config: RunConfig, manifest: Manifest, pools: Mapping[str, Manifest], accelerator: Accelerator, console: Console
) -> GateResult:
    """Compare the pools of a run with each other and with the protected images.

    Args:
        manifest: the data set; its test rows are protected, and `guard.protected`.
        pools: name -> rows: `train`, `val`, and those of which no label is read.

    Raises:
        GuardError: refused, with the exit code of the gravest reason.
    """
    if config.guard.mode == "off":
        console.warn("The leakage guard is off: every score and prediction of this run is marked not-checked.")
        return GateResult()
    prints: dict[str, Fingerprints] = {}
    origins: dict[str, Origins] = {}

    def decide() -> GateResult:
        result = _compare(config, manifest, pools, console)
        prints.update(result.prints)  # not sent: they are large, and only the first process keeps what was seen
        origins.update(result.origins)
        return replace(result, prints={}, origins={})

    result = replace(broadcast(accelerator, decide), prints=prints, origins=origins)
    console.say(f"Guard  {result.sentence}")
    return result


def gate_new_labels(
    config: RunConfig, rows: Manifest, accelerator: Accelerator, console: Console, *, mode: Literal["on", "off"] | None,
    drop_overlap: bool, name: str = "train",
) -> GateResult:  # fmt: skip
    """Compare images that get labels with the test images of the data set of a run, as its training images were.

    Args:
        config: of the run.
        mode: None: as the run was configured.
        drop_overlap: name what overlaps in `dropped(name)`, instead of refusing all.
        name: what messages call the images: `train`, or `TO_LABEL` where they have no labels yet.

    Raises:
        GuardError: some are test images.
    """
    settled = mode or config.guard.mode
    asked = config.guard.model_copy(update={"mode": settled, "drop_overlap": drop_overlap})
    data, config = config.data, config.model_copy(update={"guard": asked})
    off = settled == "off"
    dataset = rows.with_rows(()) if off else read_dataset(data.root, layout=data.layout, options=data.options)
    try:
        return run_gate(config, dataset, {name: rows}, accelerator, console)
    except OverlapError as error:  # only a training keeps a pair on purpose (guard.allow)
        raise OverlapError(error.problem, hint="Leave them out: --drop-overlap. Or name other images.") from None


def _compare(config: RunConfig, manifest: Manifest, named: Mapping[str, Manifest], console: Console) -> GateResult:
    """Read, compare, judge. Raises GuardError when something is refused."""
    asked = config.guard
    pools = [pool_of(rows, role_of(name), name=name) for name, rows in named.items() if len(rows)]
    pools += protected_pools(config, manifest)
    pools, prints = without_unused(pools, read_prints(config, pools, console))
    findings = check(pools, cache=cache_of(config.data, pools), processes=cores(), known=prints,
                     max_pixels=config.data.max_pixels, depth=config.data.depth, counting=console.counting)  # fmt: skip
    declared = Declaration(asked.reason or "", asked.allowed_by or "") if asked.transductive else None
    allowed = read_allow(asked.allow) if asked.allow is not None else ()
    verdict = judge(findings, declared=declared, allowed=allowed, drop_overlap=asked.drop_overlap)
    enforce(verdict)
    for name, paths in verdict.drops.items():
        console.warn(f"{len(paths)} images of {name} overlap validation or test images and are left out.")
    for warning in verdict.warnings:
        if not warning.startswith("NOT CHECKED"):
            console.warn(warning)
    read = partial(fingerprint, cache=cache_of(config.data, pools), processes=cores(),
                   max_pixels=config.data.max_pixels, depth=config.data.depth)  # fmt: skip
    origins = {pool.name: origins_of(pool, range(len(pool.paths)), read) for pool in pools}
    return GateResult(tuple(pools), findings, verdict, declared, prints, origins)


def without_unused(
    pools: Sequence[Pool], prints: Mapping[str, Fingerprints]
) -> tuple[list[Pool], dict[str, Fingerprints]]:
    """Without what no training reads of an unlabeled pool (see `ssl_mask.data.unlabeled.usable`): that is no overlap.

    Images with the bytes of a labeled one and images of validation groups are meant; `sslmask pseudo` asks before it
    has opened its pool.
    """
    labeled = {d for p in pools if p.role in {"train", "val"} for d in prints[p.name].digests} - {""}
    validating = {g for p in pools if p.role == "val" for g in p.groups} - {""}
    kept: list[Pool] = []
    found: dict[str, Fingerprints] = {}
    for pool in pools:
        digests = prints[pool.name].digests
        used = [
            i for i, group in enumerate(pool.groups)
            if pool.name != "unlabeled" or not (digests[i] in labeled or group in validating)
        ]  # fmt: skip
        if used:
            kept.append(pool.at(used))
            found[pool.name] = prints[pool.name].at(used)
    return kept, found


def role_of(name: str) -> Role:
    """Pools of which no label is read are unlabeled, whatever they are called; what is to be labeled will be trained on
    with its labels."""
    return "train" if name == TO_LABEL else next((role for role in ROLES if role == name), "unlabeled")


def protected_pools(config: RunConfig, manifest: Manifest) -> list[Pool]:
    """The data set's test images, and what `guard.protected` names."""
    pools = [pool_of(manifest.where("test"), "test")] if manifest.where("test").rows else []
    if config.guard.protected:
        rows = read_unlabeled(config.guard.protected, manifest.with_rows(()))
        pools.append(pool_of(rows, "test", name="protected"))
    return pools


def read_prints(config: RunConfig, pools: list[Pool], console: Console) -> dict[str, Fingerprints]:
    """Fingerprints of each pool, in the order of its paths; an unchanged image is not read again."""
    cache, found = cache_of(config.data, pools), {}
    for pool in pools:
        with console.counting(f"Fingerprints of {pool.name}") as tell:
            found[pool.name] = fingerprint(
                [pool.root / p for p in pool.paths], digests=pool.digests, cache=cache, processes=cores(),
                max_pixels=config.data.max_pixels, depth=config.data.depth, on_progress=tell,
            )  # fmt: skip
    return found
