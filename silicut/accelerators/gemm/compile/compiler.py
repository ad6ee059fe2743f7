"""The compiler: an integer network and a build in, a program out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from silicut.accelerators.gemm.compile.builder import Builder
from silicut.accelerators.gemm.compile.fused import FusedLayer
from silicut.accelerators.gemm.compile.jobs import Job
from silicut.accelerators.gemm.compile.layers import LayerCompiler
from silicut.accelerators.gemm.compile.order import Effort, ordered
from silicut.accelerators.gemm.compile.partition import Partition, partition
from silicut.accelerators.gemm.compile.schedule import LayerSchedule
from silicut.accelerators.gemm.compile.split import Split
from silicut.accelerators.gemm.compile.tensors import Tensors
from silicut.accelerators.gemm.compile.tokens import with_tokens
from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program import Barrier, Layer, LoadInstructions, Program, Queue, Unit
from silicut.accelerators.gemm.program.queues import UNIT_OF
from silicut.accelerators.gemm.program.transfers import beats_of
from silicut.graph import Network
from silicut.numerics import Convolution2d, Linear
from silicut.records import UnsupportedModel

_INSTRUCTION_WORDS = 2


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What may be chosen.

    Attributes:
        split: filters of the LUT core of each layer, by name or by a function of the layer's shape; None for the best.
        filter_orders: by layer, its filters in the order in which they are written, the LUT core's first: which filters go
            to which core. Layers that add a tensor follow the order of that tensor, grouped convolutions their groups.
        has_barriers: whether all queues meet behind each layer.
        unrolls_input: whether the host packs an input of few channels column by column.
        allows_host: whether operators may stay on the host; what they read becomes an output of the program.
    """

    split: Split = None
    filter_orders: Mapping[str, Sequence[int]] = field(default_factory=dict)
    has_barriers: bool = False
    unrolls_input: bool = True
    allows_host: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Compiled:
    """A program and how it came about.

    Attributes:
        program: what the machine executes.
        partition: what runs where.
        schedules: the loop nests of every layer; grouped convolutions have one for each few groups.
        queues: the jobs of every queue in order, before tokens.
    """

    program: Program
    partition: Partition
    schedules: tuple[LayerSchedule, ...]
    queues: Mapping[Queue, tuple[Job, ...]]


def compile_network(network: Network, config: GemmConfig, options: CompileOptions | None = None) -> Compiled:
    """Return the program of an integer network.

    Args:
        network: an integer network, for one image at a time.
        config: the build.
        options: see `CompileOptions`.

    Raises:
        UnsupportedModel: an operator would have to stay on the host, or channels lie in orders that cannot be added.
        DoesNotFit: a buffer is too small for a layer; the message says for which and how large it must be.
        ConfigError: a split or an order of filters is illegal.
    """
    options = options or CompileOptions()
    parts = partition(network)
    _check(parts, options)
    builder = Builder(config)
    tensors = Tensors(parts, builder.image, options.unrolls_input)
    for name in network.inputs:
        _ = tensors[name]
    compiler = LayerCompiler(builder, tensors, options.split, options.filter_orders)
    starts = []
    for number, layer in enumerate(parts.layers):
        builder.layer = number
        starts.append(len(builder.sequence.jobs))
        _emit_layer(builder, compiler, layer)
    queues = _in_order(builder, [*starts, len(builder.sequence.jobs)], options.has_barriers)
    program = _program(builder, tensors, queues)
    return Compiled(program=program, partition=parts, schedules=tuple(compiler.schedules), queues=queues)


def _check(parts: Partition, options: CompileOptions) -> None:
    if parts.on_host and not options.allows_host:
        raise UnsupportedModel(
            [f"{row.operator} ({row.kind}) stays on the host: {row.reason}" for row in parts.on_host],
            "Let the host execute it (allows_host), or change the network",
        )
    if not parts.layers:
        raise UnsupportedModel(["no operator of the network can run on the accelerator"], "See the partition for reasons")


def _emit_layer(builder: Builder, compiler: LayerCompiler, layer: FusedLayer) -> None:
    """Append a layer behind the fetch of its instructions, whose size is known when they are."""
    fetch = builder.move(LoadInstructions, "instructions", [], dram_address=0, n_words=_INSTRUCTION_WORDS)
    first = len(builder.sequence.jobs)
    compiler.emit(layer)
    n_words = (len(builder.sequence.jobs) - first + 1) * _INSTRUCTION_WORDS
    fetch.instruction = replace(fetch.instruction, n_words=n_words)  # type: ignore[call-arg]
    builder.efforts[fetch] = Effort(execute=beats_of(fetch.instruction, builder.config))


def _in_order(builder: Builder, bounds: Sequence[int], has_barriers: bool) -> dict[Queue, tuple[Job, ...]]:
    """Return the jobs of every queue in the order of execution."""
    jobs = builder.sequence.jobs
    if not has_barriers:
        found = ordered(jobs, builder.efforts, builder.config)
        return {queue: tuple(found[queue]) for queue in Queue}
    queues: dict[Queue, list[Job]] = {queue: [] for queue in Queue}
    for number, (start, stop) in enumerate(pairwise(bounds)):
        part = jobs[start:stop]
        for job in part:
            job.needs = [need for need in job.needs if need.job.index >= start]
        for queue, own in ordered(part, builder.efforts, builder.config).items():
            barriers = [Job(Barrier(queue=queue, layer=number), (), "", stop)] if _is_built(queue, builder.config) else []
            queues[queue] += [*own, *barriers]
    return {queue: tuple(own) for queue, own in queues.items()}


def _is_built(queue: Queue, config: GemmConfig) -> bool:
    """Tell whether a build has what a queue is for."""
    core = {Unit.LUT: config.lut, Unit.DSP: config.dsp}.get(UNIT_OF.get(queue, Unit.POST), config)
    return core is not None


def _program(builder: Builder, tensors: Tensors, queues: Mapping[Queue, Sequence[Job]]) -> Program:
    network, parts = tensors.partition.network, tensors.partition
    fetched = _with_addresses(builder, queues)
    places = {name: view.place() for name, view in tensors.places().items()}
    return Program(
        config=builder.config,
        queues=with_tokens(fetched),
        memory_words=builder.image.n_words,
        image=tuple(builder.image.regions),
        places=places,
        inputs=tuple(network.inputs),
        outputs=parts.outputs,
        layers=tuple(Layer(name=layer.name, n_macs=_n_macs(parts, layer)) for layer in parts.layers),
    )


def _with_addresses(builder: Builder, queues: Mapping[Queue, Sequence[Job]]) -> Mapping[Queue, Sequence[Job]]:
    """Give the fetches of instructions their places in memory."""
    for job in queues[Queue.MEMORY]:
        if isinstance(job.instruction, LoadInstructions):
            address = builder.image.reserve(job.instruction.n_words)
            job.instruction = replace(job.instruction, dram_address=address)
    return queues


def _n_macs(parts: Partition, layer: FusedLayer) -> int:
    """Return the products of a layer, padding included."""
    root = layer.roots[0] if layer.roots else None
    if isinstance(root, Linear):
        return root.weight.size
    if not isinstance(root, Convolution2d):
        return 0
    operator = next(o for o in parts.network.operators if o.name == layer.name)
    height, width = parts.network.tensors[operator.outputs[0]].sizes(1)[2:]
    return root.weight.size * height * width
