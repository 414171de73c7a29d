"""What the package imports is what pyproject.toml declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
BROUGHT = {
    "ai_edge_litert": "ai-edge-litert",
    "huggingface_hub": "timm",
    "markupsafe": "jinja2",
    "mlflow": "mlflow-skinny",
    "torchvision": "timm",
    "yaml": "pyyaml",
}
"""Imports that are declared under another name, or that a declared package always brings."""


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    return {name(line) for line in [*project["dependencies"], *extras]}


def name(text: str) -> str:
    """Of a requirement or a distribution, as PyPI compares them."""
    found = re.match(r"[\w.-]+", text)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"ssl_mask"}


def test_every_import_is_declared() -> None:
    known, known_as = declared(), packages_distributions()
    for path in sorted((ROOT / "ssl_mask").rglob("*.py")):
        for module in imported(path.read_text(encoding="utf-8")):
            names = {name(d) for d in known_as.get(module, [])} | {module, BROUGHT.get(module, "")}
            assert names & known, f"{path.relative_to(ROOT)} imports {module}, which pyproject.toml does not declare"
