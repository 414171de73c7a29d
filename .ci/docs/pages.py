"""Makes the pages of the documentation out of what is written once elsewhere: a hook of MkDocs.

READMEs become pages, with links between them; each public name of `ssl_mask/__init__.pyi` gets the section that
mkdocstrings makes of its docstring; each verb its help.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.testing import CliRunner

from ssl_mask.cli.verbs import VERBS, app

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {
    "README.md": "index.md", "configs/README.md": "methods.md", "ssl_mask/guard/README.md": "guard.md",
    "tests/benchmarks/README.md": "benchmarks.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
    "README.ko.md": "korean.md",
}  # fmt: skip
"""File of the project -> page."""
PAGES = {
    "functions": "Functions", "configuration": "Configuration", "data": "Data", "runs": "Runs and studies",
    "scores": "Scores and leakage", "errors": "Errors",
}  # fmt: skip
_ROOMS = {"config": "configuration", "data": "data", "errors": "errors", "runs": "runs", "workflows": "runs"}
"""Part of the package -> page of its classes; of all others: scores."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs before it renders."""
    pictures: set[str] = set()
    made = {page: text_page(source, pictures) for source, page in TEXTS.items()}
    made |= {f"api/{page}.md": api_page(page) for page in PAGES} | {"verbs.md": verbs_page()}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    for picture in sorted(pictures):
        files.append(File.generated(config, picture, abs_src_path=str(ROOT / picture)))
    return files


def text_page(source: str, pictures: set[str]) -> str:
    """A README whose links lead to pages; a link to a file that is no page is shown as its path.

    Args:
        pictures: those that it shows are added.
    """

    def linked(found: re.Match[str]) -> str:
        image, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target)) if target else source
        if image:
            pictures.add(path)
            return f"![{text}]({path})"
        readme = posixpath.join(path, "README.md")
        if page := TEXTS.get(path) or TEXTS.get(readme):
            return f"[{text}]({page}{anchor})"
        return f"{text} (`{path}`)"

    return _LINK.sub(linked, (ROOT / source).read_text(encoding="utf-8"))


def public_names() -> dict[str, str]:
    """Name -> module of all that `ssl_mask/__init__.pyi` lists, in its order."""
    tree = ast.parse((ROOT / "ssl_mask/__init__.pyi").read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"ssl_mask.{node.module}" for node in found for alias in node.names}


def page_of(name: str, module: str) -> str:
    if name[0].islower():
        return "functions"
    return _ROOMS.get(module.split(".")[1], "scores")


def api_page(page: str) -> str:
    """Where mkdocstrings puts the sections of all public names of a page."""
    names = {n: module for n, module in sorted(public_names().items()) if page_of(n, module) == page}
    sections = [
        f"::: {module}.{name}\n    options:\n      heading: ssl_mask.{name}\n" for name, module in names.items()
    ]
    return f"# {PAGES[page]}\n\n`import ssl_mask`, then `ssl_mask.<name>`.\n\n" + "\n".join(sections)


def verbs_page() -> str:
    """What `sslmask VERB --help` prints."""
    shown = [f"## `sslmask {verb}`\n\n{told}\n\n```text\n{help_of(verb)}\n```\n" for verb, told in VERBS.items()]
    return "# Verbs\n\n" + "\n".join(shown)


def help_of(*words: str) -> str:
    settings: dict[str, Any] = {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "88", "TERMINAL_WIDTH": "88"}
    done = CliRunner(env=settings).invoke(app, [*words, "--help"], prog_name="sslmask")
    assert done.exit_code == 0, done.output
    return done.output.strip()
