"""What the accelerator has to do for a layer, as numbers: the input of the models of cost.

A layer is one walk over a map: a product with weights, a depthwise filter, or windows in the vector unit; an addition
behind a product belongs to it. Work comes from the sizes of a float network and a plan of bits, before anything is
quantised or compiled, so it is what an *estimate* is made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from silicut.compress.quantisation.bits import BitPlan, LayerBits
from silicut.graph.layer_shapes import POOLS, WEIGHTED, LayerShape, readers

_FREE = frozenset(("cat", "pad"))  # only say where numbers lie
_FEW_CHANNELS = 8  # below, the host may write the rows of a window side by side


class Kind(StrEnum):
    """How a layer is computed."""

    PRODUCT = "product"
    """On both cores, filter by filter."""
    DEPTHWISE = "depthwise"
    """On the DSP core, channel by channel."""
    WINDOWS = "windows"
    """In the vector unit."""


@dataclass(frozen=True, kw_only=True)
class LayerWork:
    """One layer.

    Attributes:
        name: of its first operator.
        kind: how it is computed.
        in_channels, in_height, in_width: of the map it walks over.
        out_channels, out_height, out_width: of the map it makes.
        kernel_height, kernel_width: taps down and across.
        stride_x: columns between windows.
        n_rows_read: different rows of the input that any window sees.
        n_groups: of channels that filters keep to; of layers that are no products, all.
        a_bits: of the input as it is read.
        w_bits: of the weights of the bit-serial core.
        dsp_bits: of both operands in the DSP core, 4 or 8.
        out_bits, copy_bits: of the output and of its copy of fewer bits, 0 without.
        added_bits: of a tensor that is added, 0 without.
        may_be_unrolled: whether the host may write the kernel's rows side by side (the network's input, few channels).
    """

    name: str
    kind: Kind
    in_channels: int
    in_height: int
    in_width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride_x: int = 1
    n_rows_read: int
    n_groups: int = 1
    a_bits: int
    w_bits: int = 0
    dsp_bits: int = 8
    out_bits: int
    copy_bits: int = 0
    added_bits: int = 0
    may_be_unrolled: bool = False

    @property
    def m(self) -> int:
        """Output pixels."""
        return self.out_height * self.out_width

    @property
    def k(self) -> int:
        """Inputs of one output."""
        return self.in_channels // self.n_groups * self.kernel_height * self.kernel_width

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates, 0 for windows."""
        if self.kind is Kind.WINDOWS:
            return 0
        return self.m * self.out_channels * self.k


@dataclass(frozen=True)
class NetworkWork:
    """The layers of a network.

    Attributes:
        layers: in order of execution.
        on_host: operators that the accelerator does not execute, each as "name (kind)".
    """

    layers: tuple[LayerWork, ...]
    on_host: tuple[str, ...] = ()


def dsp_bits(a_bits: int, w_bits: int) -> int:
    """Return the width in which the DSP core multiplies activations and weights of these widths.

    Example:
        >>> dsp_bits(3, 4), dsp_bits(4, 5)
        (4, 8)
    """
    return 4 if max(a_bits, w_bits) <= 4 else 8


def network_work(shapes: Sequence[LayerShape], plan: BitPlan, outputs: Sequence[str] = ()) -> NetworkWork:
    """Return what the accelerator has to do for a network.

    Args:
        shapes: its layers.
        plan: widths of weights and activations.
        outputs: layers that make outputs of the network; by default those that no layer reads.

    Raises:
        ConfigError: the plan names layers that the network lacks.
    """
    plan.check([shape.name for shape in shapes if shape.kind in WEIGHTED])
    return _Builder(tuple(shapes), plan, tuple(outputs)).build()


def with_edge_bits(plan: BitPlan, shapes: Sequence[LayerShape], bits: int) -> BitPlan:
    """Return a plan with other widths for the first and the last product, where it does not name them."""
    names = [shape.name for shape in shapes if shape.kind in WEIGHTED]
    edges = dict.fromkeys((names[0], names[-1]), LayerBits(bits, bits)) if names else {}
    return dataclasses.replace(plan, layers={**edges, **plan.layers})


class _Builder:
    """The layers of a network on their way to work."""

    def __init__(self, shapes: tuple[LayerShape, ...], plan: BitPlan, outputs: tuple[str, ...]) -> None:
        self.plan = plan
        self.shapes = {shape.name: shape for shape in shapes}
        self.order = {name: index for index, name in enumerate(self.shapes)}
        self.readers = readers(shapes)
        self.outputs = outputs or tuple(name for name in self.shapes if name not in self.readers)
        self.fused = {addition: maker for maker, addition in self._additions()}

    def build(self) -> NetworkWork:
        layers, on_host = [], []
        for shape in self.shapes.values():
            if shape.name in self.fused or shape.kind in _FREE or self._is_inner_slice(shape):
                continue
            if work := self._work(shape):
                layers.append(work)
            else:
                on_host.append(f"{shape.name} ({shape.kind})")
        return NetworkWork(tuple(layers), tuple(on_host))

    def _additions(self) -> list[tuple[str, str]]:
        """Return (product, addition) pairs: the product that is executed last makes the sum."""
        pairs = []
        for shape in self.shapes.values():
            if shape.kind == "add" and len(shape.inputs) == 2:
                last = max(shape.inputs, key=lambda name: self.order.get(name, -1))
                is_product = last in self.shapes and self.shapes[last].kind in WEIGHTED
                if is_product and self.readers[last] == [shape.name] and shape.inputs[0] != shape.inputs[1]:
                    pairs.append((last, shape.name))
        return pairs

    def _is_inner_slice(self, shape: LayerShape) -> bool:
        """Tell whether a slice only feeds another one, which then makes both."""
        following = self.readers.get(shape.name, ())
        return shape.kind == "slice" and len(following) == 1 and self.shapes[following[0]].kind == "slice"

    def _work(self, shape: LayerShape) -> LayerWork | None:
        addition = next((name for name, maker in self.fused.items() if maker == shape.name), "")
        made = self.shapes[addition] if addition else shape
        start = shape
        while start.kind == "slice" and start.inputs[0] in self.shapes and self.shapes[start.inputs[0]].kind == "slice":
            start = self.shapes[start.inputs[0]]
        kind = _kind_of(shape)
        in_shape = self._unpadded(start)
        if kind is None or len(in_shape) not in (1, 3) or len(made.out_shape) not in (1, 3):
            return None
        out_bits, copy_bits = self._stored_bits(made.name)
        sizes = dict(zip(("in_channels", "in_height", "in_width"), _sizes(in_shape), strict=True))
        sizes |= dict(zip(("out_channels", "out_height", "out_width"), _sizes(made.out_shape), strict=True))
        is_weighted, bits = shape.kind in WEIGHTED, self.plan.of(shape.name)
        a_bits = bits.activation_bits if is_weighted else self._stored_bits(start.inputs[0])[0]
        w_bits = 0 if kind is Kind.WINDOWS else bits.weight_bits
        others = [name for name in made.inputs if name != shape.name] if made.kind == "add" else []
        return LayerWork(
            name=shape.name,
            kind=kind,
            **sizes,
            kernel_height=shape.kernel[0],
            kernel_width=shape.kernel[1],
            stride_x=shape.strides[1],
            n_rows_read=_n_rows_read(shape, in_shape, made.out_shape),
            n_groups=shape.n_groups if kind is Kind.PRODUCT else in_shape[0],
            a_bits=a_bits,
            w_bits=w_bits,
            dsp_bits=dsp_bits(a_bits, w_bits),
            out_bits=out_bits,
            copy_bits=copy_bits,
            added_bits=self._stored_bits(others[-1])[0] if others else 0,
            may_be_unrolled=start.inputs[0] not in self.shapes and in_shape[0] < _FEW_CHANNELS and kind is Kind.PRODUCT,
        )

    def _unpadded(self, shape: LayerShape) -> tuple[int, ...]:
        """Return the shape of a layer's input before the zeros that an operator of its own put around it."""
        maker = self.shapes.get(shape.inputs[0]) if shape.inputs else None
        pads_map = maker is not None and maker.kind == "pad" and maker.in_shape[0] == maker.out_shape[0]
        return maker.in_shape if maker is not None and pads_map else shape.in_shape

    def _stored_bits(self, name: str) -> tuple[int, int]:
        """Return the bits of what a layer (or an input) gives, and of its copy of fewer bits."""
        asked_by_products, asked_by_others = self._asked(name)
        if asked_by_others > asked_by_products > 0:
            return asked_by_others, asked_by_products
        return max(asked_by_products, asked_by_others), 0

    def _asked(self, name: str) -> tuple[int, int]:
        """Return the widest bits that products, and other readers, ask of a tensor."""
        products = others = 0
        for reader in self.readers.get(name, ()):
            kind = self.shapes[reader].kind
            if kind in WEIGHTED:
                products = max(products, self.plan.of(reader).activation_bits)
            elif kind in (*_FREE, "max_pool2d", "slice"):
                behind = self._asked(reader)
                products = max(products, behind[0])
                others = max(others, behind[1], self.plan.inner_bits if kind == "cat" else 0)
            else:
                others = max(others, self.plan.inner_bits)
        is_output = name in self.outputs
        return products, max(others, self.plan.output_bits) if is_output or not (products or others) else others


def _kind_of(shape: LayerShape) -> Kind | None:
    if shape.kind == "conv2d" and shape.n_groups > 1 and shape.n_groups == shape.in_shape[0] == shape.out_shape[0]:
        return Kind.DEPTHWISE
    if shape.kind in WEIGHTED:
        return Kind.PRODUCT
    if shape.kind == "batch_norm":
        return Kind.DEPTHWISE
    return Kind.WINDOWS if shape.kind in POOLS or shape.kind in ("add", "slice") else None


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def _n_rows_read(shape: LayerShape, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> int:
    """Count the rows of a map that any window sees."""
    (_, height, _), (_, out_height, _) = _sizes(in_shape), _sizes(out_shape)
    rows = {
        y * shape.strides[0] + i * shape.dilation[0] - shape.padding[0]
        for y in range(out_height)
        for i in range(shape.kernel[0])
    }
    return max(1, len(rows & set(range(height))))
