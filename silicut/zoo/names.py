"""Sentences for names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that is not known: the nearest ones, or all when none is near.

    Example:
        >>> unknown_name("network", "resnet21", ["lenet5", "resnet20"])
        "network must be a known name such as 'resnet20', not 'resnet21'"
        >>> unknown_name("network", "x", ["lenet5", "resnet20"])
        "network must be one of lenet5, resnet20, not 'x'"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 3, 0.6)
    if not near:
        return f"{kind} must be one of {', '.join(known)}, not {name!r}"
    return f"{kind} must be a known name such as {' or '.join(map(repr, near))}, not {name!r}"
