"""What follows from the findings: what is refused, what must be left out, and how far each score can be trusted.

| training reads | overlaps test | overlaps val |
| --- | --- | --- |
| labeled train (for test also val) | refused; left out with `drop_overlap`, kept by an allow file | the same |
| unlabeled | refused unless declared, or left out with `drop_overlap` | the same |
| the same group | as a copy; where groups are unknown, `not-checked` | the same |
| unreadable test or val images | refused: nobody can say that they are clean | the same |
| review band, conflicting labels | a warning | a warning |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ssl_mask.errors import ConfigError, GuardError, IncompleteError, OverlapError, UndeclaredError
from ssl_mask.guard.allow import Allowed, allowed_pairs
from ssl_mask.guard.findings import COPIES, KINDS, Findings, Pair, PoolRecord, Role
from ssl_mask.guard.status import NOTHING_SHARED, Mark, worst_mark
from ssl_mask.runs.records import LeakageStatus
from ssl_mask.text import shown

PROTECTED: tuple[Role, ...] = ("test", "val")
TO_LABEL = "pool"
"""Name of images that are chosen to be labeled."""
TRANSDUCTIVE: dict[Role, LeakageStatus] = {"test": "transductive-test", "val": "transductive-val"}


@dataclass(frozen=True)
class Declaration:
    """Somebody means to train on images of the evaluation pool (without their labels), and says so.

    Raises:
        ConfigError: no reason, or no rule that allows it.
    """

    reason: str
    """Who declares it, and why."""
    allowed_by: str
    """Which rule (of the competition, of the study) allows it."""

    def __post_init__(self) -> None:
        for flag, text in (("--reason", self.reason), ("--allowed-by", self.allowed_by)):
            if not text.strip():
                raise ConfigError(
                    f"A transductive declaration needs {flag}.", hint='Such as --reason "…" --allowed-by "…".'
                )


class Refusal(NamedTuple):
    """Why something is refused."""

    pool: str
    """The evaluation pool that is not safe."""
    error: GuardError


@dataclass(frozen=True)
class Verdict:
    """What follows from findings: refusals, images to leave out, and a mark per evaluation pool."""

    marks: dict[str, Mark]
    """Digest of each evaluation pool -> mark; holds once `drops` are left out and if nothing is refused."""
    refusals: tuple[Refusal, ...]
    """The gravest first."""
    drops: dict[str, tuple[str, ...]]
    """Pool -> paths that must not be trained on."""
    warnings: tuple[str, ...]
    allowed: dict[Pair, str]
    """Pairs that stay by the allow file, and why."""

    @property
    def mark(self) -> Mark:
        """The worst mark; `not-checked` when there is no evaluation pool to be clean for."""
        nothing = Mark("not-checked", "there are no validation or test images")
        return worst_mark(self.marks.values()) if self.marks else nothing

    @property
    def exit_code(self) -> int:
        return self.refusals[0].error.exit_code if self.refusals else 0

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "status": "refused" if self.refusals else self.mark.status,
            "reason": self.refusals[0].error.problem if self.refusals else self.mark.reason,
            "exit_code": self.exit_code,
            "marks": {digest: mark.status for digest, mark in self.marks.items()},
            "refused": [{"pool": r.pool, "problem": r.error.problem, "hint": r.error.hint} for r in self.refusals],
            "drops": {pool: list(paths) for pool, paths in self.drops.items()},
            "allowed": [{**pair._asdict(), "reason": why} for pair, why in sorted(self.allowed.items())],
            "warnings": list(self.warnings),
        }

    def outcome(self, pool: PoolRecord) -> tuple[str, str]:
        """`refused` or the status of a score on this pool, and why; "" and "" for a pool that nobody is scored on."""
        if refused := [r.error.problem for r in self.refusals if r.pool == pool.name]:
            return "refused", " ".join(refused)
        return self.marks.get(pool.digest, ("", "")) if pool.role in PROTECTED else ("", "")


def judge(
    findings: Findings,
    *,
    declared: Declaration | None = None,
    allowed: Sequence[Allowed] = (),
    drop_overlap: bool = False,
) -> Verdict:
    """Apply the table above.

    Args:
        declared: unlabeled images may overlap evaluation pools.
        allowed: pairs that may stay.
        drop_overlap: what overlaps will be left out of training by the caller, see `Verdict.drops`.

    Raises:
        DataError: an allow row names an image that no pool has.
    """
    reasons, unused = allowed_pairs(findings, allowed)
    role: dict[str, Role] = {p.name: p.role for p in findings.pools}
    leaks = [p for p in findings.pairs if _is_leak(p, role)]
    kept = {p for p in leaks if p in reasons or (declared is not None and role[p.second_pool] == "unlabeled")}
    open_ = [p for p in leaks if p not in kept]
    pools = [p for p in findings.pools if p.role in PROTECTED]
    refusals = [*_incomplete(pools), *([] if drop_overlap else _refusals(open_, role))]
    refusals.sort(key=lambda r: r.error.exit_code)  # stable: test before val
    return Verdict(
        marks=_marks(pools, findings, kept, role),
        refusals=tuple(refusals),
        drops=_drops(open_, findings),
        warnings=(*_warnings(findings, pools), *unused),
        allowed={p: why for p, why in reasons.items() if p in kept},
    )


def enforce(verdict: Verdict) -> None:
    """Raises OverlapError (3), UndeclaredError (4) or IncompleteError (6) when something is refused.

    The gravest decides; the message holds all.
    """
    if not verdict.refusals:
        return
    errors = [r.error for r in verdict.refusals]
    raise type(errors[0])("\n".join(e.problem for e in errors), hint="\n".join(dict.fromkeys(e.hint for e in errors)))


def _is_leak(pair: Pair, role: dict[str, Role]) -> bool:
    """A copy or a group in an evaluation pool and in one that is read for training or (val for test) for choosing."""
    first, second = role[pair.first_pool], role[pair.second_pool]
    return first in PROTECTED and second != first and pair.kind in (*COPIES, "group")


def _refusals(leaks: list[Pair], role: dict[str, Role]) -> list[Refusal]:
    found: list[Refusal] = []
    for first, second in dict.fromkeys((p.first_pool, p.second_pool) for p in leaks):
        problem = _overlap([p for p in leaks if (p.first_pool, p.second_pool) == (first, second)])
        if role[second] == "unlabeled":
            problem += f" Training on them is transductive: a score on {first} would not measure new images."
            hint = (
                "Leave them out: --drop-overlap. Keep them and have it said with every score: "
                '--transductive --reason "…" --allowed-by "…". List them: sslmask audit … --drop-list drop.csv'
            )
            found.append(Refusal(first, UndeclaredError(problem, hint=hint)))
        else:
            hint = (
                "Leave them out: --drop-overlap. List them: sslmask audit … --drop-list drop.csv. "
                "Keep a pair on purpose: --allow FILE, a CSV with first,second,reason."
            )
            found.append(Refusal(first, OverlapError(problem, hint=hint)))
    return found


def _overlap(pairs: list[Pair]) -> str:
    """One sentence on the overlap of two pools, with the surest example."""
    example = min(pairs, key=lambda p: (KINDS.index(p.kind), -p.score, p))
    counts = Counter(p.kind for p in pairs)
    kinds = ", ".join(f"{counts[k]} {k}" for k in KINDS if counts[k])
    as_what = f"group {example.group}" if example.kind == "group" else f"{example.kind}, {example.score:.2f}"
    return (
        f"{example.second_pool} overlaps {example.first_pool} ({kinds}), such as {shown(example.second)} with "
        f"{shown(example.first)} ({as_what})."
    )


def _incomplete(pools: list[PoolRecord]) -> list[Refusal]:
    found: list[Refusal] = []
    for pool in pools:
        if pool.unreadable:
            first = ", ".join(f"{shown(path)} ({shown(why)})" for path, why in sorted(pool.unreadable.items())[:3])
            problem = (
                f"Check incomplete: {len(pool.unreadable)} of {len(pool.files)} images of {pool.name} cannot be read, "
                f"such as {first}."
            )
            hint = "Repair the files, or take them out of the pool; --guard off trains without any check."
            error = IncompleteError(problem, hint=hint)
            found.append(Refusal(pool.name, error))
    return found


def _marks(
    pools: Sequence[PoolRecord], findings: Findings, kept: Collection[Pair], role: dict[str, Role]
) -> dict[str, Mark]:
    """Digest -> mark, the most protected pool first; it also counts where two pools hold the same images."""
    marks: dict[str, Mark] = {}
    for pool in pools:
        marks.setdefault(pool.digest, _mark(pool, findings, kept, role))
    return marks


def _mark(pool: PoolRecord, findings: Findings, kept: Iterable[Pair], role: dict[str, Role]) -> Mark:
    """How far scores on a pool can be trusted, given the leaks that stay."""
    marks: list[Mark] = []
    stay: dict[LeakageStatus, set[str]] = {}
    for pair in kept:
        if pair.first_pool == pool.name:
            unlabeled = role[pair.second_pool] == "unlabeled"
            stay.setdefault(TRANSDUCTIVE[pool.role] if unlabeled else "leaked-declared", set()).add(pair.first)
    for status, paths in stay.items():
        how = "with labels, as the allow file says" if status == "leaked-declared" else "without labels, as declared"
        marks.append(Mark(status, f"{len(paths)} images of {called(pool)} are trained on {how}"))
    if pool.unreadable:
        marks.append(Mark("not-checked", f"{len(pool.unreadable)} images of {called(pool)} cannot be read"))
    if not any(role[p.name] != pool.role and p.role != "test" for p in findings.pools):
        marks.append(Mark("not-checked", f"nothing was compared with {called(pool)}"))
    if unknown := _unknown_persons(pool, findings):
        marks.append(Mark("photos-clean", unknown))
    return worst_mark([*marks, Mark("clean", NOTHING_SHARED)])


def _unknown_persons(pool: PoolRecord, findings: Findings) -> str:
    """Which pools leave open whether they share persons with this one, in words; "" none."""
    names = {name for u in findings.not_checked if u.first_pool == pool.name for name in (u.first_pool, u.second_pool)}
    unnamed = [called(p) for p in findings.pools if p.name in names and not p.grouped]
    some = "not every person" if any(p.by_group for p in findings.pools if p.name in names and not p.grouped) else ""
    verb = "name" if len(unnamed) > 1 else "names"
    said = f"{' and '.join(unnamed)} {verb} {some or 'no persons'} (groups), so shared ones cannot be ruled out"
    return said if unnamed else ""


def called(pool: PoolRecord) -> str:
    """A pool in a sentence."""
    known = {"test": "the test set", "val": "the validation set", "train": "the training set", TO_LABEL: "the pool"}
    return known.get(pool.name, f"the pool {shown(pool.name)}")


def _drops(leaks: list[Pair], findings: Findings) -> dict[str, tuple[str, ...]]:
    drops: dict[str, set[str]] = {}
    for pair in leaks:
        whole_group = findings.pool(pair.second_pool).by_group.get(pair.group, [])
        drops.setdefault(pair.second_pool, set()).update([pair.second, *(f.path for f in whole_group)])
    return {pool: tuple(sorted(paths)) for pool, paths in sorted(drops.items())}


def _warnings(findings: Findings, protected: list[PoolRecord]) -> list[str]:
    said: list[str] = []
    if not protected:
        said.append("No validation or test pool: there is nothing to be clean for.")
    for pool in findings.pools:
        if pool.unreadable and pool not in protected:
            path, why = min(pool.unreadable.items())
            said.append(
                f"Unreadable images in {pool.name}: {len(pool.unreadable)}, such as {shown(path)} ({shown(why)})."
            )
    review = Counter((p.first_pool, p.second_pool) for p in findings.pairs if p.kind == "review")
    said += [
        f"Look: pairs of {second} and {first} that may be one picture: {n}." for (first, second), n in review.items()
    ]
    if findings.conflicts:
        pair = findings.conflicts[0]
        said.append(
            f"Copies with different labels: {len(findings.conflicts)} pairs, such as {shown(pair.second)} "
            f"({pair.second_label}) and {shown(pair.first)} ({pair.first_label})."
        )
    said += [f"NOT CHECKED, {u.second_pool} and {u.first_pool}: {u.what}." for u in findings.not_checked]
    return said
