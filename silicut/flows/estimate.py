"""What a network would cost on the GEMM accelerator, from sizes alone: nothing is quantised, compiled or simulated."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import PRESETS, GemmConfig
from silicut.accelerators.gemm.cost.bound import layer_bounds, layer_columns, machine_columns, network_bound, roofs
from silicut.accelerators.gemm.cost.resources import AMOUNTS, exceeded, exceeded_by_memory, resources
from silicut.accelerators.gemm.cost.split import best_splits, bound_of_any_split
from silicut.accelerators.gemm.cost.work import Kind, LayerWork, NetworkWork, network_work, with_edge_bits
from silicut.compress.quantisation.bits import MAX_BITS, MIN_BITS, BitPlan
from silicut.graph import Network
from silicut.graph.layer_shapes import WEIGHTED, LayerShape, layer_shapes
from silicut.graph.storage import load_network
from silicut.numerics.quantised_files import STRUCTURE_FILE, WEIGHTS_FILE
from silicut.records import BadFile, Cache, ConfigError, content_hash
from silicut.report.estimate import Estimate, LayerEstimate, PartEstimate, ResourceEstimate
from silicut.targets.parts import Board, DeviceTable, Part, device_table

_BITS_FILE = "bits.json"
_FOLDERS = (("network.json", "model.safetensors"), (STRUCTURE_FILE, WEIGHTS_FILE))


@dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """What a network is estimated with.

    Attributes:
        plan: widths of weights and activations.
        edge_bits: of the first and the last product where the plan does not name them; None for those of the plan.
        config: of the accelerator.
        part: that it is to fit.
        board: whose memory it is to run on; None for the ports at full speed.

    Raises:
        ConfigError: a width is out of range.
    """

    plan: BitPlan = dataclasses.field(default_factory=lambda: BitPlan.uniform(8, 8))
    edge_bits: int | None = None
    config: GemmConfig = PRESETS["n3h"]
    part: Part = dataclasses.field(default_factory=lambda: device_table().part("xc7z020"))
    board: Board | None = None

    def __post_init__(self) -> None:
        if self.edge_bits is not None and not MIN_BITS <= self.edge_bits <= MAX_BITS:
            raise ConfigError(f"edge_bits must be {MIN_BITS}..{MAX_BITS}, not {self.edge_bits}")


def estimate(shapes: Sequence[LayerShape], options: EstimateOptions, name: str = "network") -> Estimate:
    """Return what a network would cost: cycles of every unit by layer, and resources against the part.

    Filters are divided between the cores so that the busier unit of each layer has least to do.

    Args:
        shapes: layers of a float network, such as those of `read_layers`.
        options: widths, machine, part.
        name: of the network, for the report.

    Raises:
        ConfigError: the plan of bits names layers that the network lacks, or nothing of the network runs on the accelerator.
    """
    plan = options.plan if options.edge_bits is None else with_edge_bits(options.plan, shapes, options.edge_bits)
    work = network_work(shapes, plan)
    if not any(layer.kind is Kind.PRODUCT for layer in work.layers):
        raise ConfigError(f"{name} must have a convolution or a linear layer on images, not none: {_first_of(work)}")
    config, n_lut = options.config, best_splits(work.layers, options.config)
    return Estimate(
        network=name,
        bits=_bits_text(plan, shapes),
        config_hash=config.hash,
        bandwidth_gb_per_s=config.memory.bytes_per_cycle * config.clock_hz / 1e9,
        layers=_layers(work.layers, n_lut, config),
        on_host=work.on_host,
        overlapped_cycles=int(network_bound(work.layers, n_lut, config)),
        any_split_cycles=int(bound_of_any_split(work.layers, config)),
        in_turn_cycles=int(layer_bounds(work.layers, n_lut, config).sum()),
        **on_part(config, options.part, options.board),
    )


def _layers(layers: Sequence[LayerWork], n_lut: NDArray[np.int64], config: GemmConfig) -> tuple[LayerEstimate, ...]:
    found = roofs(layer_columns(layers), n_lut, machine_columns([config]))
    alone, limits = layer_bounds(layers, n_lut, config)[0], found.limiting()[0]
    bytes_per_cycle = config.memory.bytes_per_cycle
    return tuple(
        LayerEstimate(
            name=layer.name,
            kind=layer.kind.value,
            m=layer.m,
            k=layer.k,
            n=layer.out_channels,
            a_bits=layer.a_bits,
            w_bits=layer.w_bits,
            n_lut=int(n_lut[i]),
            n_dsp=layer.out_channels - int(n_lut[i]) if layer.kind is Kind.PRODUCT else 0,
            lut_cycles=int(found.lut[0, i]),
            dsp_cycles=int(found.dsp[0, i]),
            vector_cycles=int(found.vector[0, i]),
            memory_cycles=int(found.memory[0, i]),
            limited_by=str(limits[i]),
            cycles=int(alone[i]),
            macs_per_byte=layer.n_macs / (float(found.memory[0, i]) * bytes_per_cycle),
        )
        for i, layer in enumerate(layers)
    )


def on_part(config: GemmConfig, part: Part, board: Board | None) -> dict[str, Any]:
    """Return what reports say of a build on a part: the fields of `OnAccelerator` that do not depend on the network.

    Args:
        config: with the clock that is assumed.
        part: that resources are compared with.
        board: whose memory must carry the traffic; None for the ports at full speed.
    """
    found = resources(config)
    memory = () if board is None else exceeded_by_memory(config, board)
    return {
        "accelerator": config.name,
        "clock_hz": config.clock_hz,
        "resources": tuple(
            ResourceEstimate(name=item.name, group=item.group, **dataclasses.asdict(item.use)) for item in found.items
        ),
        "resource_model": found.model,
        "part": PartEstimate(
            name=part.name, is_recalled=part.is_recalled, **{name: getattr(part, name) for name in AMOUNTS}
        ),
        "exceeded": exceeded(found, part) + memory,
    }


def _bits_text(plan: BitPlan, shapes: Sequence[LayerShape]) -> str:
    """Return the plan in words: "4/4, ends 8/8", or the range of a mixed one."""
    bits = [plan.of(shape.name) for shape in shapes if shape.kind in WEIGHTED]
    inner = bits[1:-1] or bits
    if len({str(b) for b in inner}) > 1:
        pairs = [(b.weight_bits, b.activation_bits) for b in bits]
        low, high = (tuple(end(numbers) for numbers in zip(*pairs, strict=True)) for end in (min, max))
        return f"{low[0]}..{high[0]} / {low[1]}..{high[1]} bits"
    ends = {str(bits[0]), str(bits[-1])} - {str(inner[0])}
    return f"{inner[0]} bits" + (f", ends {' and '.join(sorted(ends))}" if ends else "")


def _first_of(work: NetworkWork) -> str:
    return f"{work.on_host[0]} is one of its operators" if work.on_host else "it has no operators"


def accelerator(name: str, clock_mhz: float | None = None) -> GemmConfig:
    """Return a configuration by the name of a preset or the path of its JSON file.

    Args:
        name: "n3h", "mine.json".
        clock_mhz: another clock than the configuration's.

    Raises:
        ConfigError: there is none of that name (they are listed), or the clock is not positive.
        BadFile: the file is missing or holds no configuration.
    """
    if name in PRESETS:
        config = PRESETS[name]
    elif name.endswith(".json"):
        config = GemmConfig.load(name)
    else:
        raise ConfigError(f"accelerator must be one of {', '.join(PRESETS)}, or a file such as mine.json, not {name!r}")
    return config if clock_mhz is None else dataclasses.replace(config, clock_hz=clock_mhz * 1e6)


def read_layers(
    network: str, input_shape: tuple[int, ...] | None = None, cache: Cache | None = None
) -> tuple[LayerShape, ...]:
    """Return the layers of a network: from the zoo's table, a folder of a run, or an ONNX file.

    The layers of an ONNX file are kept in the cache, so that only the first look at it takes long.

    Args:
        network: a name of the zoo, a folder of `silicut prune` or `silicut quantise`, or the path of an ONNX file.
        input_shape: of one input of an ONNX file whose sizes are free.
        cache: for ONNX files; the user's by default.

    Raises:
        ConfigError: there is no such network.
        BadFile: a file is missing or damaged.
        UnsupportedModel: the ONNX file holds what silicut cannot capture.
    """
    if network.endswith(".onnx"):
        return _of_file(network, input_shape, cache or Cache())
    if Path(network).is_dir():
        return layer_shapes(network_of_folder(Path(network)))
    from silicut.zoo.layer_table import known_layers

    return known_layers(network)


def network_of_folder(folder: Path) -> Network:
    """Return the network that a folder of `silicut prune` or `silicut quantise` holds.

    Raises:
        BadFile: it holds none, or a file is damaged.
    """
    for structure, weights in _FOLDERS:
        if (folder / structure).exists():
            return load_network(folder / structure, folder / weights)
    names = " or ".join(structure for structure, _ in _FOLDERS)
    raise BadFile(f"{folder} must be a folder of silicut prune or quantise: it holds no {names}; give such a folder")


def known_plan(network: str) -> BitPlan | None:
    """Return the plan of bits that a folder of `silicut quantise` holds, None for any other network.

    Raises:
        BadFile: it is damaged.
    """
    path = Path(network) / _BITS_FILE
    return BitPlan.load(path) if path.exists() else None


def _of_file(path: str, input_shape: tuple[int, ...] | None, cache: Cache) -> tuple[LayerShape, ...]:
    try:
        key = {"layers of": content_hash(Path(path).read_bytes()), "input": list(input_shape or ()), "version": 1}
    except FileNotFoundError:
        raise BadFile(f"{path} does not exist; check the path") from None
    known = cache.get(key)
    if known is None:
        known = [dataclasses.asdict(shape) for shape in layer_shapes(network_of_file(path, input_shape))]
        cache.put(key, known)
    return tuple(_shape(each) for each in known)


def _shape(fields: dict[str, Any]) -> LayerShape:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return LayerShape(**values)


def network_of_file(path: str, input_shape: tuple[int, ...] | None) -> Network:
    """Return the network of an ONNX file of one input.

    Args:
        path: of the file.
        input_shape: of one input where sizes are free.

    Raises:
        ConfigError: the file has several inputs.
        BadFile, UnsupportedModel: it is no ONNX file, or holds what silicut cannot capture.
    """
    from silicut.graph import capture_onnx
    from silicut.graph.from_onnx.opened import open_model

    names = list(open_model(path).input_shapes)
    if len(names) != 1:
        raise ConfigError(f"{path} must have one input, not {', '.join(names)}")
    return capture_onnx(path, {} if input_shape is None else {names[0]: input_shape})


def device(part: str | None, board: str | None, files: Sequence[str | Path] = ()) -> tuple[Part, Board | None]:
    """Return the part and the board that were asked for; the board's part where no part is named, else an xc7z020.

    Raises:
        ConfigError: an unknown name, or a board that does not carry the part.
        BadFile: a user's file is missing or is not TOML.
    """
    table: DeviceTable = device_table(*files)
    found = None if board is None else table.board(board)
    chosen = table.part(part or (found.part if found else "xc7z020"))
    if found is not None and found.part != chosen.name:
        raise ConfigError(f"board must carry {chosen.name}, not {found.part} as {found.name} does; leave part out")
    return chosen, found
