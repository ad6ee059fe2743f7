"""Which filters of a layer go to which core: the number that makes the slower of the two, or of the memory, fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from silicut.accelerators.gemm.compile.planning import ProductShape, plan_product
from silicut.accelerators.gemm.compile.schedule import ProductSchedule, UnitSchedule
from silicut.accelerators.gemm.compile.views import CHANNEL_GROUP
from silicut.accelerators.gemm.config import GRANULE, GemmConfig
from silicut.accelerators.gemm.program import Unit, row_words
from silicut.records import ConfigError, DoesNotFit

Shapes = Callable[[range, Unit], ProductShape]
"""From filters and a core to the shape of their part of a layer."""
Split = Mapping[str, int] | Callable[[ProductShape], int] | None
"""The filters of the LUT core of each layer by name, a function of the layer's shape, or None for the best."""


@dataclass(frozen=True)
class _Choice:
    cycles: tuple[int, int]
    units: tuple[UnitSchedule, ...]


def split_layer(config: GemmConfig, n_filters: int, shapes: Shapes, split: Split) -> tuple[UnitSchedule, ...]:
    """Return the schedules of the cores that have filters of a layer.

    The LUT core gets the first n_lut filters, the DSP core the others; n_lut is 0, all, or a multiple of 8.

    Args:
        config: the build.
        n_filters: elements of the output's pixels.
        shapes: of the parts.
        split: see `Split`.

    Raises:
        ConfigError: the given number is none of these, or the build lacks the core.
        DoesNotFit: a core has no room for any number of them.
    """
    legal = legal_splits(config, n_filters)
    given = _given(split, shapes(range(n_filters), Unit.DSP if config.lut is None else Unit.LUT))
    if given is not None:
        if given not in legal:
            name = shapes(range(n_filters), Unit.LUT).name
            raise ConfigError(f"split of {name} must be one of {', '.join(map(str, legal))}, not {given}")
        return _choice(config, n_filters, given, shapes).units
    choices, refusals = [], []
    for n_lut in legal:
        try:
            choices.append(_choice(config, n_filters, n_lut, shapes))
        except DoesNotFit as refusal:
            refusals.append(refusal)
    if not choices:
        raise refusals[0]
    return min(choices, key=lambda choice: choice.cycles).units


def legal_splits(config: GemmConfig, n_filters: int) -> list[int]:
    """Return how many filters the LUT core may get."""
    if config.dsp is None:
        return [n_filters]
    if config.lut is None:
        return [0]
    return [*range(0, n_filters, CHANNEL_GROUP), n_filters]


def _given(split: Split, shape: ProductShape) -> int | None:
    if split is None:
        return None
    return split(shape) if callable(split) else split.get(shape.name)


def _choice(config: GemmConfig, n_filters: int, n_lut: int, shapes: Shapes) -> _Choice:
    units, cycles, words = [], [], 0
    for unit, filters in ((Unit.LUT, range(n_lut)), (Unit.DSP, range(n_lut, n_filters))):
        if filters:
            shape = shapes(filters, unit)
            plan = plan_product(config, unit, shape)
            units.append(plan)
            cycles.append(core_cycles(config, plan))
            words += _words(config, plan, shape)
    shape = shapes(range(n_filters), units[0].unit)
    geometry = shape.geometry
    passes = max(plan.nest.n_passes for plan in units if isinstance(plan.nest, ProductSchedule))
    words += (
        passes
        * geometry.size[0]
        * sum(row_words(geometry.size[1] * pitch, shape.activation_bits) for pitch in shape.slab_pitches)
    )
    memory = -(-words // config.memory.n_ports)
    return _Choice((max(memory, *cycles), sum(cycles)), tuple(units))


def core_cycles(config: GemmConfig, plan: UnitSchedule) -> int:
    """Return the cycles of the busiest of a core's stages; where tiles are short, the banks of accumulators bound them."""
    nest, core = plan.nest, config.lut if plan.unit is Unit.LUT else config.dsp
    assert isinstance(nest, ProductSchedule)
    assert core is not None
    n_tiles = nest.n_tiles * nest.n_stripes(range(nest.n_pixels))
    execute, result = nest.execute_cycles, nest.result_cycles(config.n_lanes)
    in_turn = (execute + result + n_tiles * core.latency_cycles) // core.n_accumulator_banks
    return max(execute, result, in_turn, nest.expand_cycles(config.fill_bits))


def _words(config: GemmConfig, plan: UnitSchedule, shape: ProductShape) -> int:
    """Return the words that one core alone moves: weights, results, what is added."""
    nest = plan.nest
    assert isinstance(nest, ProductSchedule)
    height, width = shape.geometry.output_size
    bank_bits = (
        config.lut.word_bits if plan.unit is Unit.LUT and config.lut else 8 * (config.dsp.n_inputs if config.dsp else 0)
    )
    banks = nest.tile_filters if plan.unit is Unit.LUT or not config.dsp else config.dsp.n_columns
    weights = nest.n_tiles * nest.tile_lines * -(-banks * bank_bits // 64)
    rows = sum(row_words(width * shape.n_filters, bits) for bits in shape.output_bits) + shape.residual_row_words
    joint = sum(row_words(width * GRANULE, bits) for bits in shape.joint_bits)
    return weights + height * (rows + joint)


def with_shared_rows(plans: tuple[UnitSchedule, ...], height: int) -> tuple[tuple[UnitSchedule, ...], bool]:
    """Return the schedules of both cores with rings of the same number of rows, and whether one fetch serves both.

    That is so where each core walks over the map once, or holds all of it. A core that keeps all stripes needs all rows
    early; it does not wait for one that takes its time.
    """
    if len(plans) < 2:
        return plans, False
    nests = [plan.nest for plan in plans]
    assert all(isinstance(nest, ProductSchedule) for nest in nests)
    n_rows = min(plan.rings.feature_rows for plan in plans)
    for nest in nests:
        assert isinstance(nest, ProductSchedule)
        walks_once = (nest.n_passes == 1 and not nest.is_ahead) or n_rows >= height
        if not walks_once or n_rows < nest.geometry.n_input_rows(nest.geometry.rows_of_stripe(nest.stripe_pixels)):
            return plans, False
    return tuple(_with_rows(plan, n_rows) for plan in plans), True


def _with_rows(plan: UnitSchedule, n_rows: int) -> UnitSchedule:
    nest = plan.nest
    assert isinstance(nest, ProductSchedule)
    rows = min(nest.group_rows, max(1, nest.geometry.n_output_rows(n_rows)))
    return replace(plan, nest=replace(nest, group_rows=rows), rings=replace(plan.rings, feature_rows=n_rows))
