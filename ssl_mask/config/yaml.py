"""YAML as people write it: words stay words, and what PyYAML takes in silence is refused.

`off`, `no`, `2020-01-01`, `007` and `1:30` are words as in YAML 1.2, not a boolean, a date or numbers. A key is always
a word, a key twice is an error, and a file cannot grow by its aliases.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ssl_mask.reading import one_line, refuse_odd

MOST_CHARACTERS = 1_000_000
MOST_VALUES = 100_000
LONGEST = 8192
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key must be a word")
            if key.tag == f"{_TAG}merge":
                continue
            if key.value in lines:
                raise ValueError(f"the key {one_line(key.value)!r} is in it twice: lines {lines[key.value]} and {line}")
            key.tag, lines[key.value] = f"{_TAG}str", line
        return node


_OWN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)",
        "-+0123456789.",
    ),
}
_WORDS = {f"{_TAG}{kind}" for kind in (*_OWN, "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in _WORDS]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, (_pattern, _first) in _OWN.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))


def parse_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        ValueError: in one line, with the line number where there is one.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has more than {MOST_CHARACTERS:,} characters, more than any configuration")
    try:
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"it is not valid YAML, {where}{one_line(error.problem or error)}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML, {one_line(error)}") from error
    refuse_odd(content, MOST_VALUES, LONGEST)
    return content
