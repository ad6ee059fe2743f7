"""Ways to spoil a program so that it cannot be right any more."""

from __future__ import annotations

import dataclasses
from collections import Counter

from silicut.accelerators.gemm.program import (
    Depthwise,
    Expand,
    ExpandColumns,
    Gemm,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Pool,
    Queue,
    SetProduct,
    SetResidualMap,
    SetTaps,
    Store,
    Sync,
    resource_of,
)
from silicut.accelerators.gemm.program.tokens import given, taken
from silicut.hardware import fields_of

ADDRESSES = ("lhs_base", "rhs_base", "dram_address", "address", "base", "first_segment", "first_filter", "first_channel")
SIZES = ("n_words", "n_lines", "n_entries", "n_banks", "n_pixels", "n_filters", "n_segments", "n_channels", "row_words")


def _replaced(program, queue, i, *instructions):
    changed = (*program.of(queue)[:i], *instructions, *program.of(queue)[i + 1 :])
    return dataclasses.replace(program, queues={**program.queues, queue: changed})


def _anywhere(rng, program, wanted):
    """Return queue, number and instruction of one that fits."""
    every = [(q, i, x) for q in Queue for i, x in enumerate(program.of(q)) if wanted(q, x)]
    return every[rng.integers(len(every))] if every else None


def far_address(rng, program):
    """An address or a size as large as its field: outside of every memory of a small build."""

    def fields(x):
        names = () if isinstance(x, SetResidualMap) else (*ADDRESSES, *SIZES)
        return [f for f in fields_of(type(x)) if f.name in names and f.bits > 8]

    found = _anywhere(rng, program, lambda q, x: fields(x))
    if found is None:
        return None
    queue, i, x = found
    field = fields(x)[rng.integers(len(fields(x)))]
    return _replaced(program, queue, i, dataclasses.replace(x, **{field.name: field.max}))


def empty_size(rng, program):
    """A size of 0."""

    def names(x):
        return [f.name for f in fields_of(type(x)) if f.name in SIZES]

    queue, i, x = _anywhere(rng, program, lambda q, x: names(x))
    return _replaced(program, queue, i, dataclasses.replace(x, **{names(x)[rng.integers(len(names(x)))]: 0}))


def lost_send(rng, program):
    """A token that somebody waits for is not sent."""
    sent, waited = Counter(), Counter()
    for q in Queue:
        for x in program.of(q):
            sent.update(given(q, x))
            waited.update(taken(q, x))

    def missed(q, x):
        return [slot for slot in sorted(x.sends) if all(sent[c] == waited[c] for c in given(q, _sending(x, slot)))]

    queue, i, x = _anywhere(rng, program, missed)
    slots = missed(queue, x)
    return _replaced(program, queue, i, _sending(x, *(x.sends - {slots[rng.integers(len(slots))]})))


def _sending(instruction, *slots):
    return dataclasses.replace(instruction, sends=frozenset(slots))


def extra_wait(rng, program):
    """More tokens are waited for than are ever sent."""
    queue, i, x = _anywhere(rng, program, lambda q, x: x.waits)
    slot = sorted(x.waits)[rng.integers(len(x.waits))]
    return _replaced(program, queue, i, dataclasses.replace(x, waits={**x.waits, slot: 31}))


def lost_wait(rng, program):
    """The first rows, or the first stripe, are not waited for: they cannot be there yet."""
    first = {q: next((x for x in program.of(q) if x.waits), None) for q in Queue}
    queue, i, x = _anywhere(rng, program, lambda q, x: x is first[q] and q is not Queue.MEMORY)
    waits = {name: n for name, n in x.waits.items() if name not in ("rows", "stripe")}
    return _replaced(program, queue, i, dataclasses.replace(x, waits=waits))


def lost_load(rng, program):
    """Words are not loaded, but their tokens are sent."""
    loads = (LoadRows, LoadResidual, LoadTable, LoadWeights)
    queue, i, x = _anywhere(rng, program, lambda q, x: isinstance(x, loads))
    sync = Sync(queue=queue, resource=resource_of(x), layer=x.layer, waits=x.waits, sends=x.sends)
    return _replaced(program, queue, i, sync)


def lost_expansion(rng, program):
    """Rows of the matrix are not made, but their tokens are sent."""
    found = _anywhere(rng, program, lambda q, x: isinstance(x, Expand | ExpandColumns))
    if found is None or sum(isinstance(x, Expand | ExpandColumns) for x in program.of(found[0])) > 1:
        return None
    queue, i, x = found
    return _replaced(program, queue, i, Sync(queue=queue, resource=0, layer=x.layer, waits=x.waits, sends=x.sends))


def lost_register(rng, program):
    """Registers that are needed are never set."""
    needed = ("set_map", "set_kernel", "set_pixels", "set_requantise", "set_residual", "set_lookup")
    queue, i, _ = _anywhere(rng, program, lambda q, x: x.mnemonic in needed or isinstance(x, SetTaps))
    return _replaced(program, queue, i)


def longer_sum(rng, program):
    """A sum takes more words than were made."""
    found = _anywhere(rng, program, lambda q, x: isinstance(x, SetProduct))
    if found is None:
        return None
    queue, i, x = found
    return _replaced(program, queue, i, dataclasses.replace(x, n_words=x.n_words + 40))


def early_store(rng, program):
    """Results are stored before they are there."""
    queue, i, x = _anywhere(rng, program, lambda q, x: isinstance(x, Store) and x.waits)
    return _replaced(program, queue, i, dataclasses.replace(x, waits={}))


def wrong_unit(rng, program):
    """A unit, a width or a mode that does not exist."""
    choices = {LoadTable: ("unit", 3), LoadWeights: ("unit", 2), Store: ("unit", 3), SetProduct: ("lhs_bits", 9)}
    queue, i, x = _anywhere(rng, program, lambda q, x: type(x) in choices)
    name, value = choices[type(x)]
    return _replaced(program, queue, i, dataclasses.replace(x, **{name: value}))


def strange_slot(rng, program):
    """A channel that the queue does not have."""
    queue, i, x = _anywhere(rng, program, lambda q, x: True)
    return _replaced(program, queue, i, dataclasses.replace(x, waits={"nowhere": 1}))


def misplaced(rng, program):
    """An instruction in the wrong queue."""
    queue, i, x = _anywhere(rng, program, lambda q, x: isinstance(x, Gemm | Depthwise | Expand | Pool | Store))
    others = [q for q in Queue if q is not queue]
    return _replaced(program, queue, i, dataclasses.replace(x, queue=others[rng.integers(len(others))]))


WAYS = (
    far_address,
    empty_size,
    lost_send,
    extra_wait,
    lost_wait,
    lost_load,
    lost_expansion,
    lost_register,
    longer_sum,
    early_store,
    wrong_unit,
    strange_slot,
    misplaced,
)
"""All ways; each returns the spoiled program, or None where the program has nothing to spoil in this way."""
