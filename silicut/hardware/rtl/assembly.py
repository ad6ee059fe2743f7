"""Several components as one, so that one build serves them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, flipped


class SideBySide(wiring.Component):
    """Components that have nothing to do with each other.

    Args:
        parts: components by name.

    Members:
        name of a part: its ports, with its directions; `part.port` is the port part__port of a model.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._parts = dict(parts)
        super().__init__({name: Out(part.signature) for name, part in self._parts.items()})

    def elaborate(self, platform: Any) -> Module:
        """Connect every port."""
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = part
            wiring.connect(m, part, flipped(getattr(self, name)))
        return m
