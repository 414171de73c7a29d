"""Who may import whom, read from the source: the rules of the README's architecture section as a test."""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ssl_mask"
HEAVY = {"torch", "torchvision", "timm", "albumentations", "accelerate", "pandas", "sklearn"}
TENSORS_ONLY = {
    "pathlib",
    "accelerate",
    "yaml",
    "typer",
    "ssl_mask.config",
    "ssl_mask.cli",
    "ssl_mask.workflows",
}
FORBIDDEN = {
    "losses/": TENSORS_ONLY | {"ssl_mask.models", "ssl_mask.data", "ssl_mask.algorithms", "ssl_mask.training"},
    "models/": TENSORS_ONLY | {"ssl_mask.losses", "ssl_mask.data", "ssl_mask.algorithms", "ssl_mask.training"},
    "algorithms/": TENSORS_ONLY | {"ssl_mask.data", "ssl_mask.training"},
    "data/": {"ssl_mask.losses", "ssl_mask.models", "ssl_mask.algorithms", "ssl_mask.training", "ssl_mask.workflows"},
    "selection/": {"ssl_mask.cli", "ssl_mask.workflows", "ssl_mask.data", "torch", "pathlib"},
    "guard/": {"ssl_mask.cli", "ssl_mask.workflows", "ssl_mask.models", "ssl_mask.training", "torch"},
    "training/": {"ssl_mask.cli", "ssl_mask.workflows"},
}
EXCEPTIONS = {("models/backbones.py", "pathlib")}  # it reads weight files
LIGHT = ("data/manifest.py", "data/schema.py", "config/", "errors.py", "cli/")
TASK_WORDS = re.compile(r"\b(gender|age)\b")
MAY_NAME_THE_TASK = re.compile(r"data/layouts/mask18\.py|demo/\w+\.py")
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def imports(tree: ast.Module, *, top_level: bool = False) -> Iterator[str]:
    """Modules that are imported; `from a import b` counts as `a` and as `a.b`."""
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
    for path in sorted(package.rglob("*.py")):
        name, source = path.relative_to(package).as_posix(), path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        barred = {b for start, modules in FORBIDDEN.items() if name.startswith(start) for b in modules}
        hits = {b for m in imports(tree) for b in barred if m == b or m.startswith(f"{b}.")}
        found |= {f"{name} imports {b}" for b in hits if (name, b) not in EXCEPTIONS}
        if name.startswith(LIGHT):
            heavy = {m.split(".")[0] for m in imports(tree, top_level=True)} & HEAVY
            found |= {f"{name} imports {m} at module level" for m in heavy}
        if not MAY_NAME_THE_TASK.fullmatch(name) and names_the_task(source):
            found.add(f"{name} names the task")
    return sorted(found)


def test_the_package_keeps_its_rules() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "violation"),
    [
        ("losses/margin.py", "from ssl_mask.data import schema", "losses/margin.py imports ssl_mask.data"),
        ("models/heads.py", "from ssl_mask import losses", "models/heads.py imports ssl_mask.losses"),
        ("models/heads.py", "from pathlib import Path", "models/heads.py imports pathlib"),
        ("data/batches.py", "import ssl_mask.models.joint", "data/batches.py imports ssl_mask.models"),
        ("algorithms/supervised.py", "import accelerate", "algorithms/supervised.py imports accelerate"),
        ("guard/policy.py", "import torch", "guard/policy.py imports torch"),
        ("selection/rules.py", "from pathlib import Path", "selection/rules.py imports pathlib"),
        ("cli/train.py", "import torch.nn", "cli/train.py imports torch at module level"),
        ("cli/app.py", "name = 'gender'", "cli/app.py names the task"),
        ("evaluation/metrics.py", "age = 3", "evaluation/metrics.py names the task"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, line: str, violation: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(PACKAGE / file, tmp_path / file)
    with (tmp_path / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    assert violations(tmp_path) == [violation]


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
