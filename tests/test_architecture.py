"""Who may import whom, read from the source: CONTRIBUTING's rules as a test."""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ssl_mask.cli.verbs import VERBS

PACKAGE = Path(__file__).parents[1] / "ssl_mask"
LEVELS = (
    ("cli",),
    ("workflows",),
    ("training", "pseudo_labeling", "tuning", "studies"),
    ("inference", "reports"),
    ("evaluation", "guard"),
    ("data", "data/layouts", "runs", "algorithms", "devices", "guard/copies"),
    ("models", "config", "demo_data", "files", "reading", "cluster"),
    ("losses", "selection", "types", "console", "errors", "text"),
)
"""From top to bottom. A room imports rooms below it; rooms of one level import each other without a cycle of files."""
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
DOORS = {"", "__main__"}  # the public door, and `python -m ssl_mask`
HEAVY = {"torch", "torchvision", "timm", "albumentations", "accelerate", "pandas", "sklearn"}
OUTSIDE = {"pathlib", "accelerate", "yaml", "typer", "ssl_mask.config", "ssl_mask.files"}
FORBIDDEN = {
    # These see tensors and arrays only: no paths, no configuration, no processes, no command line.
    "losses": OUTSIDE | {"ssl_mask.console"},
    "selection": OUTSIDE | {"ssl_mask.console", "torch"},
    "models": OUTSIDE | {"ssl_mask.console"},
    "algorithms": OUTSIDE | {"ssl_mask.console", "ssl_mask.data", "ssl_mask.runs"},
    "config": HEAVY,
    "demo_data": {"torch", "ssl_mask.config"},
    "data": {"ssl_mask.runs", "ssl_mask.devices", "ssl_mask.algorithms"},
    "data/layouts": {"torch", "ssl_mask.runs", "ssl_mask.console", "ssl_mask.devices"},
    "guard": {"torch", "ssl_mask.models", "ssl_mask.algorithms"},
    # Copies knows files, pictures and numbers: no data set, no verdict.
    "guard/copies": {"torch", "ssl_mask.config", "ssl_mask.runs", "ssl_mask.data.manifest", "ssl_mask.console"},
    "evaluation": {"ssl_mask.runs", "ssl_mask.guard", "accelerate", "typer"},
    "reports": {"torch", "accelerate", "typer"},
    "runs": {"ssl_mask.algorithms", "ssl_mask.models", "ssl_mask.console", "accelerate"},
    "inference": {"typer", "ssl_mask.algorithms"},
    "training": {"typer", "ssl_mask.guard"},  # a workflow hands it data that is filtered already
    "pseudo_labeling": {"typer", "ssl_mask.algorithms"},
    # What is asked and what it is worth; a workflow hands it the training of a trial as a function.
    "tuning": {"typer", "torch", "accelerate", "ssl_mask.training", "ssl_mask.guard", "ssl_mask.models"},
    # Which runs are trained next, and what the finished ones say together; a workflow hands in how a run is trained.
    "studies": {"typer", "torch", "ssl_mask.algorithms", "ssl_mask.models"},
    "workflows": {"typer"},
    "cli": set(),
    "devices": {"ssl_mask.config", "ssl_mask.data"},
    "files": HEAVY,
    "cluster": HEAVY,
    "reading": HEAVY,
    "errors": HEAVY,
    "text": HEAVY,
    "console": HEAVY,
    "types": {"pathlib", "accelerate"},
}
EXCEPTIONS = {
    ("models/weights.py", "pathlib"),  # they read weight files
    ("models/embedded.py", "pathlib"),
    ("models/tensors.py", "pathlib"),
    ("config/load.py", "torch"),  # inside of a function: is there a GPU?
}
LIGHT = (
    "data/manifest.py", "data/schema.py", "config/", "errors.py", "cli/", "runs/run.py", "runs/view.py", "runs/find.py",
    "runs/records.py",
)  # fmt: skip
TASK_WORDS = re.compile(r"\b(gender|age)\b")
MAY_NAME_THE_TASK = re.compile(r"data/layouts/mask18\.py|demo_data/\w+\.py")
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def imports(tree: ast.Module, *, top_level: bool = False) -> Iterator[str]:
    """Modules that are imported; `from a import b` counts as `a` and as `a.b`."""
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """`ssl_mask.guard.copies.hog` is in `guard/copies`, `ssl_mask.files` is a room of its own, the package a door."""
    parts = module.removesuffix(".__init__").split(".")[1:]
    room = "/".join(parts[:2])
    return room if room in LEVEL else parts[0] if parts else ""


def module_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(["ssl_mask", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def names_the_task(source: str) -> bool:
    """Whether code or a string that is not a docstring holds one of the task's words."""
    previous = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = token.type == tokenize.STRING and previous in NO_CODE | {tokenize.ENCODING}
        if token.type != tokenize.COMMENT and not docstring and TASK_WORDS.search(token.string):
            return True
        previous = token.type
    return False


def violations(package: Path) -> list[str]:
    found: set[str] = set()
    graph: dict[str, set[str]] = {}
    files = {module_of(p, package): p for p in sorted(package.rglob("*.py"))}
    for module, path in files.items():
        name, source, room = path.relative_to(package).as_posix(), path.read_text(encoding="utf-8"), room_of(module)
        tree = ast.parse(source)
        used = set(imports(tree))
        if room not in DOORS and room not in LEVEL:
            found.add(f"{name} is in no room of LEVELS")
            continue
        barred = FORBIDDEN.get(room, set())
        hits = {b for m in used for b in barred if m == b or m.startswith(f"{b}.")}
        found |= {f"{name} imports {b}" for b in hits if (name, b) not in EXCEPTIONS}
        rooms = {room_of(m) for m in used if m.startswith("ssl_mask.")} - {room}
        if room not in DOORS:
            found |= {f"{name} imports {r}, which is above it" for r in rooms if LEVEL.get(r, -1) < LEVEL[room]}
        if name.startswith(LIGHT):
            heavy = {m.split(".")[0] for m in imports(tree, top_level=True)} & HEAVY
            found |= {f"{name} imports {m} at module level" for m in heavy}
        if not MAY_NAME_THE_TASK.fullmatch(name) and names_the_task(source):
            found.add(f"{name} names the task")
        graph[module] = {m for m in used if m in files and m not in {module, "ssl_mask"}}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.add(f"a cycle: {' -> '.join(error.args[1])}")
    return sorted(found)


def test_the_package_keeps_its_rules() -> None:
    assert violations(PACKAGE) == []


def test_workflows_are_verbs() -> None:
    """What several verbs share is in a room below. A file is a verb (or more: `gallery_search`), or a kind of one."""
    kinds = {"compare": "uda", "factors": "train", "find_lr": "train", "folds": "train", "resume": "train"}
    assert kinds.keys().isdisjoint(VERBS) and set(kinds.values()) <= VERBS.keys()
    files = {path.stem for path in (PACKAGE / "workflows").glob("*.py")} - {"__init__"}
    assert {file for file in files if file.split("_")[0] not in VERBS} == kinds.keys()


def test_every_room_has_a_rule() -> None:
    assert LEVEL.keys() == FORBIDDEN.keys()
    rooms = {room_of(module_of(p, PACKAGE)) for p in PACKAGE.rglob("*.py")} - DOORS
    assert rooms == LEVEL.keys()


@pytest.mark.parametrize(
    ("file", "line", "violation"),
    [
        ("losses/margin.py", "from ssl_mask.data import schema", "losses/margin.py imports data, which is above it"),
        ("models/heads.py", "from pathlib import Path", "models/heads.py imports pathlib"),
        ("models/heads.py", "import ssl_mask.training.ema", "models/heads.py imports training, which is above it"),
        ("data/batches.py", "import ssl_mask.runs.run", "data/batches.py imports ssl_mask.runs"),
        ("data/layouts/folder.py", "import torch", "data/layouts/folder.py imports torch"),
        ("algorithms/supervised.py", "import accelerate", "algorithms/supervised.py imports accelerate"),
        ("guard/policy.py", "import torch", "guard/policy.py imports torch"),
        ("guard/copies/hog.py", "import ssl_mask.data.manifest", "guard/copies/hog.py imports ssl_mask.data.manifest"),
        ("guard/copies/hog.py", "import ssl_mask.guard.policy", "guard/copies/hog.py imports guard, which is above it"),
        ("selection/rules.py", "from pathlib import Path", "selection/rules.py imports pathlib"),
        ("training/loop.py", "import ssl_mask.guard.gate", "training/loop.py imports ssl_mask.guard"),
        ("reports/plots.py", "import torch", "reports/plots.py imports torch"),
        ("evaluation/metrics.py", "import ssl_mask.runs.run", "evaluation/metrics.py imports ssl_mask.runs"),
        ("inference/logits.py", "import ssl_mask.workflows.train",
         "inference/logits.py imports workflows, which is above it"),
        ("pseudo_labeling/audit.py", "import ssl_mask.cli.app",
         "pseudo_labeling/audit.py imports cli, which is above it"),
        ("tuning/trial.py", "import ssl_mask.training.fit", "tuning/trial.py imports ssl_mask.training"),
        ("runs/run.py", "import torch", "runs/run.py imports torch at module level"),
        ("config/data.py", "import pandas", "config/data.py imports pandas"),
        ("cli/train.py", "import torch.nn", "cli/train.py imports torch at module level"),
        ("cli/app.py", "name = 'gender'", "cli/app.py names the task"),
        ("evaluation/metrics.py", "age = 3", "evaluation/metrics.py names the task"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, line: str, violation: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(PACKAGE / file, tmp_path / file)
    with (tmp_path / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    assert violation in violations(tmp_path)


def test_a_cycle_of_files_is_caught(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.py").write_text("from ssl_mask.models import b\n")
    (tmp_path / "models/b.py").write_text("def late():\n    import ssl_mask.models.a\n")
    assert violations(tmp_path) == ["a cycle: ssl_mask.models.a -> ssl_mask.models.b -> ssl_mask.models.a"]


def test_comments_and_docstrings_may_name_the_task() -> None:
    assert not names_the_task('"""Of any age."""\n\n\ndef f():\n    """Gender."""\n    return 1  # age\n'.lower())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['sslmask', '--help']\nfrom ssl_mask.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', sorted({HEAVY!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert "Usage" in done.stdout and done.stdout.rstrip().endswith("heavy: []")
