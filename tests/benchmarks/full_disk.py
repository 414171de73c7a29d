"""A disk that gets full at any moment: one error, and with more space the verb goes on to the same files.

    python tests/benchmarks/full_disk.py [--verbs train uda …] [--mounts] [--work DIR]

Each verb runs where no file may grow beyond a size (`ulimit -f`), from 4 kB to what its largest file needs. With
`--mounts` (as root) its runs are on a tmpfs of 1, 1.5, 4 and 7 MB, which is made larger afterwards. Then it is
continued and compared with an undisturbed one, as in `kills.py`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from kills import LONGEST, VERBS, Bench, prepare, start, wait
from rich.console import Console
from rich.table import Table

SIZES = tuple(int(4096 * 1.5**i) for i in range(16))
"""Bytes; the last one is more than any file of so small a run has."""
MOUNTS = ("1m", "1500k", "4m", "7m")


def with_small_files(bench: Bench, name: str, size: int) -> tuple[str, list[str]]:
    """How a verb ends where no file may grow beyond `size`, and what is wrong when it has been continued."""
    bench.begin(bench.undisturbed(name).base)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        child = start(bench.next(name), bench.now, bench.operations)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return judged(bench, name, wait(child, LONGEST))


def on_a_small_disk(bench: Bench, name: str, size: str) -> tuple[str, list[str]]:
    """The same with `runs` on a disk of its own."""
    bench.begin(bench.undisturbed(name).base)
    runs = bench.now / "runs"
    runs.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", runs], check=True)
    try:
        child = start(bench.next(name), bench.now, bench.operations)
        code = wait(child, LONGEST)
        subprocess.run(["mount", "-o", "remount,size=100m", runs], check=True)
        return judged(bench, name, code)
    finally:
        subprocess.run(["umount", runs], check=True)


def judged(bench: Bench, name: str, code: int | None) -> tuple[str, list[str]]:
    log = (bench.now / "log.txt").read_text(encoding="utf-8")
    wrong = ["traceback"] if "Traceback" in log else []
    fine = bench.undisturbed(name).code
    if code not in {fine, 3}:
        wrong.append(f"exit code {code}")
    told = "ended" if code == fine and "Cannot write" not in log else "refused"
    if told == "refused" and not ("Cannot write" in log or "cannot write" in log):
        wrong.append("no clear error")
    return told, [*wrong, *bench.finish(name)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS), metavar="VERB")
    parser.add_argument("--mounts", action="store_true", help="tmpfs disks in place of limits of the file size")
    parser.add_argument("--work", type=Path, help="an empty folder to work in")
    asked = parser.parse_args()
    prepare(plots=True)
    table = Table("verb", "size", "first", "then")
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench((asked.work or Path(scratch)).absolute())
        for name in asked.verbs:
            for size in MOUNTS if asked.mounts else SIZES:
                run = on_a_small_disk if asked.mounts else with_small_files
                told, wrong = run(bench, name, size)  # type: ignore[arg-type]
                failed += bool(wrong)
                table.add_row(name, str(size), told, "; ".join(wrong) or "equal")
                print(name, size, told, wrong, flush=True)
                if wrong:
                    print((bench.now / "log.txt").read_text()[-3000:])
    Console().print(table)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
