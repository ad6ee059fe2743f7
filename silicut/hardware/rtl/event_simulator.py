"""Amaranth's own simulator, slow but without a compiler, kept from designs that it would get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Fragment, Instance
from amaranth.sim import Simulator

from silicut.records import ConfigError


def event_simulator(component: Any) -> Any:
    """Return an `amaranth.sim.Simulator` of a component.

    Raises:
        ConfigError: it contains an `Instance`, which that simulator ignores without a word: its outputs stay as they are.
    """
    fragment = Fragment.get(component, None)
    foreign = sorted(set(_instances(fragment)))
    if foreign:
        names = ", ".join(foreign)
        raise ConfigError(f"components must contain no Instance to be simulated by Amaranth, not {names}; use compile_model")
    return Simulator(fragment)


def _instances(fragment: Any) -> Iterator[str]:
    if isinstance(fragment, Instance):
        yield fragment.type
    for part in fragment.subfragments:
        yield from _instances(part[0])
