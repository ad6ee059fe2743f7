"""Docstrings of this package as reStructuredText: sections become rubrics, "a, b: text" becomes an entry for both names."""

from __future__ import annotations

import re
import textwrap
from typing import Any

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Notes|Parameters|Source):$")
_ENTRY = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*): ?(?P<text>.*)$")
_BARS = re.compile(r"(`+[^`]*`+)|\|([^|`\s](?:[^|`]*[^|`\s])?)\|")
_WITH_ENTRIES = ("Args", "Attributes", "Raises", "Parameters")


def converted(lines: list[str]) -> list[str]:
    """Return the lines of a docstring in reStructuredText.

    Example:
        >>> converted(["Return a sum.", "", "Args:", "    a, b: numbers,", "        finite."])
        ['Return a sum.', '', '.. rubric:: Args', '', '- **a**, **b**: numbers,', '  finite.', '']
    """
    found: list[str] = []
    at = 0
    while at < len(lines):
        match = _SECTION.match(lines[at])
        if match is None:
            found.append(_with_bars(lines[at]))
            at += 1
            continue
        end = next((i for i in range(at + 1, len(lines)) if lines[i] and not lines[i].startswith(" ")), len(lines))
        body = textwrap.dedent("\n".join(lines[at + 1 : end])).strip("\n").split("\n")
        found += [f".. rubric:: {match[1]}", "", *_body(match[1], body), ""]
        at = end
    return found


def _body(title: str, lines: list[str]) -> list[str]:
    if title == "Example":
        return lines
    lines = [_with_bars(line) for line in lines]
    return _entries(lines) if title in _WITH_ENTRIES else lines


def _with_bars(line: str) -> str:
    """Return a line in which |x| is the amount of x, no substitution; code stays as it is."""
    return _BARS.sub(lambda found: found[1] or f"\\|{found[2]}\\|", line)


def _entries(lines: list[str]) -> list[str]:
    found = []
    for line in lines:
        match = _ENTRY.match(line)
        if match:
            names = ", ".join(f"**{name}**" for name in match["names"].replace("*", "\\*").split(", "))
            found.append(f"- {names}: {match['text']}".rstrip())
        elif line.startswith("    "):
            found.append(f"  {line[4:]}")
        else:  # prose in place of names
            found.append(f"- {line}" if line else line)
    return found


def setup(app: Any) -> dict[str, Any]:
    """Let autodoc convert every docstring, and make its signatures readable."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = converted(list(lines))


def _signature(*event: Any) -> tuple[str, str] | None:
    """Return a signature in which values that are no Python (<factory>) are left out; protocols have none."""
    described, signature, returned = event[3], *event[-2:]
    if getattr(described, "_is_protocol", False):
        return "", ""
    return None if signature is None else (re.sub(r"<[^<>]*>", "...", signature), returned)
