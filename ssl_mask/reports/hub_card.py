"""What all cards for the Hugging Face Hub have in common: front matter, a license, and a mark of who wrote it.

The keys of the front matter are documented in https://github.com/huggingface/hub-docs (modelcard.md, datasetcard.md).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ssl_mask.errors import ConfigError, DataError, did_you_mean
from ssl_mask.files import write_text
from ssl_mask.reading import one_line, read_text, reading

_KNOWN = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
    eupl-1.1 gemma gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 lppl-1.3c
    mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense
    wtfpl zlib
"""
LICENSES = frozenset(_KNOWN.split())
"""Identifiers that the Hub knows (https://huggingface.co/docs/hub/repositories-licenses)."""
_MARK = re.compile(r"<!-- written by sslmask, ([0-9a-f]{64}) -->\n\Z")
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def refuse_unknown_license(name: str | None) -> None:
    """Raises ConfigError for a license that the Hub does not know."""
    if name is not None and name not in LICENSES:
        raise ConfigError(
            f"--license {name}: the Hugging Face Hub knows no such license.",
            hint=f"{did_you_mean(name.lower(), sorted(LICENSES))} For one that is not on its list: --license other, "
            "and `license_name` in the card.",
        )


def front_matter(content: Mapping[str, Any]) -> str:
    """YAML between two lines of dashes; a key whose value is None is left out."""
    kept = {key: value for key, value in content.items() if value is not None}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=10_000)}---\n"


def read_front_matter(text: str, where: str) -> dict[str, Any]:
    """The front matter of a card that a person may have edited.

    Raises:
        DataError: there is none, it is not YAML, or not a mapping.
    """
    hint = "Correct it, or delete the file: it is then written anew."
    found = _FRONT.match(text.replace("\r\n", "\n"))
    if found is None:
        raise DataError(f"{where} does not begin with front matter between two lines of `---`.", hint=hint)
    try:
        content = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise DataError(f"{where}: its front matter is not YAML ({one_line(error)}).", hint=hint) from error
    if not isinstance(content, dict):
        raise DataError(f"{where}: its front matter is not a mapping of keys to values.", hint=hint)
    return content


def marked(text: str) -> str:
    """A card with a last line that says that nobody has edited it since."""
    return f"{text}\n<!-- written by sslmask, {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def is_ours(text: str) -> bool:
    """Whether a card is as it was written, and may be replaced."""
    found = _MARK.search(text)
    return found is not None and marked(text[: found.start() - 1]) == text


def write_unless_edited(path: Path, text: str) -> bool:
    """Write a card; one that a person has written or edited is kept. Returns whether it was written.

    Raises:
        DataError: what is there cannot be read. StorageError: it cannot be written.
    """
    if path.exists():
        with reading(path, DataError, hint="Delete it: it is then written anew."):
            if not is_ours(read_text(path)):
                return False
    write_text(path, marked(text))
    return True
