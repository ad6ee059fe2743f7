"""From fused layers to what is emitted: geometry, weights and views put together, filters split, schedules chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from silicut.accelerators.gemm.compile.builder import Builder
from silicut.accelerators.gemm.compile.channelwise import Channelwise, Written
from silicut.accelerators.gemm.compile.depthwise import DepthwiseWalk
from silicut.accelerators.gemm.compile.folding import Array, weight_width
from silicut.accelerators.gemm.compile.fused import Epilogue, FusedLayer
from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.layer_windows import as_convolution, geometry_of, window_of
from silicut.accelerators.gemm.compile.planning import AddedSlab, ProductShape, dsp_element_bits
from silicut.accelerators.gemm.compile.planning_channelwise import plan_depthwise, plan_pool
from silicut.accelerators.gemm.compile.pool import PoolWalk
from silicut.accelerators.gemm.compile.product import Product, emit_product, part_shapes, written_parts
from silicut.accelerators.gemm.compile.results import residual_slabs
from silicut.accelerators.gemm.compile.rows import distinct_slabs
from silicut.accelerators.gemm.compile.schedule import LayerSchedule, ProductSchedule, UnitSchedule
from silicut.accelerators.gemm.compile.split import Split, split_layer, with_shared_rows
from silicut.accelerators.gemm.compile.tensors import Tensors
from silicut.accelerators.gemm.compile.views import View, padded_to_group
from silicut.accelerators.gemm.config import GRANULE
from silicut.accelerators.gemm.program import Unit
from silicut.numerics import Convolution2d, IntegerFormat, Linear
from silicut.records import ConfigError, DoesNotFit

Formats = tuple[IntegerFormat | None, IntegerFormat | None]


@dataclass(eq=False)
class LayerCompiler:
    """Emits the layers of a network one after the other.

    Attributes:
        builder: takes the jobs.
        tensors: where everything lies.
        split: of filters between the cores.
        filter_orders: by layer, where filters are not written in their own order.
        schedules: of the layers so far; grouped convolutions have several.
    """

    builder: Builder
    tensors: Tensors
    split: Split
    filter_orders: Mapping[str, Sequence[int]]
    schedules: list[LayerSchedule] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._added = {layer.epilogue.residual for layer in self.tensors.partition.layers if layer.epilogue.residual}

    def emit(self, layer: FusedLayer) -> None:
        """Append a layer and note where its output lies.

        Raises:
            DoesNotFit, UnsupportedModel, ConfigError: see `compile_network`.
        """
        results: tuple[Written, Written] = ([], [])
        for output, copy in self._parts(layer):
            results[0].extend(output)
            results[1].extend(copy)
        for name, written in zip((layer.epilogue.output, layer.epilogue.copy_output), results, strict=True):
            if name:
                self.tensors.written(name, written_parts(written))

    def _parts(self, layer: FusedLayer) -> Iterator[tuple[Written, Written]]:
        """Yield what each part of a layer writes."""
        root = layer.roots[0] if layer.roots else None
        if not isinstance(root, Convolution2d | Linear):
            yield self._channelwise(self._pool(layer), None, 0)
        elif isinstance(root, Convolution2d) and root.groups > 1:
            yield from self._grouped(layer, root)
        else:
            yield self._emit(self._product(layer, root))

    def _formats(self, epilogue: Epilogue) -> Formats:
        output, copy = epilogue.output, epilogue.copy_output
        return (self.tensors.format(output) if output else None, self.tensors.format(copy) if copy else None)

    def _residual(self, epilogue: Epilogue, order: Sequence[int] | None = None) -> View | None:
        """Return what is added, copied to new slabs if it does not lie in whole ones or in another order."""
        if not epilogue.residual:
            return None
        view = self.tensors[epilogue.residual]
        if view.is_plain and (order is None or view.order == tuple(order)):
            return view
        return self._copied(view.reordered(padded_to_group(view.order if order is None else order)), epilogue.residual)

    def _copied(self, view: View, name: str) -> View:
        """Return a tensor in slabs of its own, which POST makes in the order of a view."""
        size = (view.height, view.width)
        copy = Channelwise(
            name=f"{name} (copied)",
            view=view,
            geometry=Geometry(size=size, output_size=size),
            pad_value=0,
            epilogue=Epilogue(output=name),
            formats=(view.format, None),
        )
        written, _ = self._channelwise(copy, None, 0)
        return replace(view, parts=written_parts(written))

    def _in_order_of(self, view: View, residual: View | None) -> View:
        """Return the input of a layer that keeps the order of channels in the order of what is added."""
        if residual is None or view.order == residual.order:
            return view
        return view.reordered(residual.order)

    def _product(self, layer: FusedLayer, root: Convolution2d | Linear) -> Product:
        view = self.tensors[layer.source]
        weight, geometry = as_convolution(root, view)
        residual, n = self._residual(layer.epilogue), len(weight)
        return Product(
            name=layer.name,
            view=view,
            geometry=geometry,
            weight=weight,
            bias=root.bias,
            input_zero_point=root.input_zero_point,
            epilogue=layer.epilogue,
            order=self._order(layer, n, residual),
            formats=self._formats(layer.epilogue),
            residual=residual,
            channel_of=tuple(range(n)),
        )

    def _order(self, layer: FusedLayer, n_filters: int, residual: View | None) -> tuple[int, ...]:
        """Return the filters of a layer in the order in which they are written."""
        order = self.filter_orders.get(layer.name)
        if order is not None and (residual is not None or sorted(order) != list(range(n_filters))):
            rule = "left out, as it adds a tensor" if residual else f"a permutation of 0..{n_filters - 1}"
            raise ConfigError(f"filter_orders of {layer.name} must be {rule}, not {tuple(order)}")
        if residual is not None:
            return residual.order
        return padded_to_group(range(n_filters) if order is None else order)

    def _emit(self, product: Product) -> tuple[Written, Written]:
        """Split a product's filters between the cores, plan and append it."""
        bits = np.array([weight_width(product.weight[f]) if f >= 0 else 1 for f in product.order])
        pitches = tuple(slab.pitch for slab in distinct_slabs(product.view))
        joint = self._joint(product)

        def added(filters: range) -> list[AddedSlab]:
            return list(_added_slabs(product, filters))

        def shape(filters: range, _: Unit, joint: tuple[int, ...] = joint) -> ProductShape:
            formats = [(i, f.bits) for i, f in enumerate(product.formats) if f is not None]
            return ProductShape(
                name=product.name,
                geometry=product.geometry,
                parts=part_shapes(product.view.parts),
                slab_pitches=pitches,
                activation_bits=product.view.format.bits,
                weight_bits=int(bits[filters.start : filters.stop].max()),
                n_filters=len(filters),
                output_bits=tuple(n for i, n in formats if i not in joint),
                joint_bits=tuple(n for i, n in formats if i in joint),
                residual_row_words=sum(slab.row_words for slab in added(filters)),
                residual_slabs=tuple(added(filters)),
                is_added_later=product.epilogue.output in self._added,
            )

        plans = split_layer(self.builder.config, len(product.order), shape, self.split)
        if joint and not _are_joint(plans):
            joint = ()
            plans = split_layer(self.builder.config, len(product.order), partial(shape, joint=joint), self.split)
        plans, shares = with_shared_rows(plans, product.geometry.size[0])
        schedule = LayerSchedule(name=product.name, geometry=product.geometry, units=plans, shares_rows=shares)
        self.schedules.append(schedule)
        return emit_product(self.builder, replace(product, joint=joint), schedule)

    def _joint(self, product: Product) -> tuple[int, ...]:
        """Return the outputs that both cores may write into one slab: a granule a pixel, read by windows of products."""
        names = (product.epilogue.output, product.epilogue.copy_output)
        readers = {layer.source for layer in self.tensors.partition.layers if layer.is_product} - self._added
        return tuple(i for i, name in enumerate(names) if name in readers) if len(product.order) == GRANULE else ()

    def _grouped(self, layer: FusedLayer, root: Convolution2d) -> Iterator[tuple[Written, Written]]:
        dsp, geometry = self.builder.config.dsp, geometry_of(root, self.tensors[layer.source])
        is_depthwise = root.weight.shape[1] == 1 and root.dilation[1] == 1
        if dsp is not None and is_depthwise and root.weight.shape[3] <= dsp.n_outputs:
            yield from self._depthwise(layer, root, geometry)
        else:
            yield from map(self._emit, self._group_products(layer, root, geometry))

    def _depthwise(self, layer: FusedLayer, root: Convolution2d, geometry: Geometry) -> Iterator[tuple[Written, Written]]:
        """Yield what each filter of the channels writes: the k-th of each channel together."""
        view, n_each = self.tensors[layer.source], len(root.weight) // root.groups
        if n_each == 1:
            residual = self._residual(layer.epilogue)
            view = self._in_order_of(view, residual)
        else:
            order = [c * n_each + k if c >= 0 else c for k in range(n_each) for c in view.order]
            residual = self._residual(layer.epilogue, order)
        for k in range(n_each):
            filters = np.arange(k, len(root.weight), n_each)
            channelwise = Channelwise(
                name=layer.name,
                view=view,
                geometry=geometry,
                pad_value=root.input_zero_point,
                epilogue=_for_filters(layer.epilogue, filters),
                formats=self._formats(layer.epilogue),
                residual=residual,
                residual_first=k * len(view.order),
                weight=root.weight[filters, 0].astype(np.int64),
                bias=None if root.bias is None else root.bias[filters],
            )
            bits = dsp_element_bits(view.format.bits, weight_width(root.weight[filters]))
            written = self._channelwise(channelwise, Unit.DSP, bits)
            yield _renamed(written[0], filters), _renamed(written[1], filters)

    def _group_products(self, layer: FusedLayer, root: Convolution2d, geometry: Geometry) -> Iterator[Product]:
        """Yield products for a few groups each: filters of other groups' channels are zeros, which fills tiles."""
        view, n_out, n_in, first = self.tensors[layer.source], len(root.weight) // root.groups, root.weight.shape[1], 0
        runs = list(self._group_runs(root.groups, n_out))
        orders = [padded_to_group(range(groups.start * n_out, groups.stop * n_out)) for groups in runs]
        residual = self._residual(layer.epilogue, [channel for order in orders for channel in order])
        for groups in runs:
            filters = np.arange(groups.start * n_out, groups.stop * n_out)
            order = padded_to_group(range(len(filters)))
            yield Product(
                name=layer.name,
                view=view.selected(range(groups.start * n_in, groups.stop * n_in)).trimmed(),
                geometry=geometry,
                weight=_block_diagonal(root.weight[filters], len(groups)),
                bias=None if root.bias is None else root.bias[filters],
                input_zero_point=root.input_zero_point,
                epilogue=_for_filters(layer.epilogue, filters),
                order=order,
                formats=self._formats(layer.epilogue),
                residual=residual,
                residual_first=first,
                channel_of=tuple(filters.tolist()),
            )
            first += len(order)

    def _group_runs(self, n_groups: int, n_out: int) -> Iterator[range]:
        """Yield groups that are computed together: as many as fill a tile."""
        config = self.builder.config
        tile = config.lut.n_columns if config.lut else config.dsp.n_outputs if config.dsp else 1
        size = max(1, max(8, tile) // n_out)
        yield from (range(start, min(start + size, n_groups)) for start in range(0, n_groups, size))

    def _pool(self, layer: FusedLayer) -> Channelwise:
        residual = self._residual(layer.epilogue)
        view = self._in_order_of(self.tensors[layer.source], residual)
        geometry, pad_value, is_max = window_of(layer.roots, view)
        return Channelwise(
            name=layer.name,
            view=view,
            geometry=geometry,
            pad_value=pad_value,
            epilogue=layer.epilogue,
            formats=self._formats(layer.epilogue),
            residual=residual,
            is_max=is_max,
        )

    def _channelwise(self, layer: Channelwise, unit: Unit | None, element_bits: int) -> tuple[Written, Written]:
        """Plan and append a layer that keeps the order of channels; slab by slab where the rows of all do not fit."""
        try:
            planned = [(layer, self._plan(layer, unit, element_bits))]
        except DoesNotFit:
            pieces = layer.by_slab()
            if len(pieces) == 1:
                raise
            planned = [(piece, self._plan(piece, unit, element_bits)) for piece in pieces]
        written: Written = []
        for piece, plan in planned:
            self.schedules.append(LayerSchedule(name=piece.name, geometry=piece.geometry, units=(plan,)))
            walk = (PoolWalk if unit is None else DepthwiseWalk)(self.builder, piece, plan)
            walk.run()
            written += walk.written
        return [item for item in written if item[0].index == 0], [item for item in written if item[0].index == 1]

    def _plan(self, layer: Channelwise, unit: Unit | None, element_bits: int) -> UnitSchedule:
        elements = range(layer.residual_first, layer.residual_first + len(layer.view.order))
        added = residual_slabs(layer.residual, elements, layer.name) if layer.residual else {}
        shape = ProductShape(
            name=layer.name,
            geometry=layer.geometry,
            parts=part_shapes(layer.view.parts),
            slab_pitches=tuple(slab.pitch for slab in distinct_slabs(layer.view)),
            activation_bits=layer.view.format.bits,
            weight_bits=element_bits,
            n_filters=len(layer.view.order),
            output_bits=tuple(f.bits for f in layer.formats if f is not None),
            residual_row_words=sum(slab.row_words for slab in added),
        )
        if unit is Unit.DSP:
            return plan_depthwise(self.builder.config, shape, element_bits)
        return plan_pool(self.builder.config, shape)


def _are_joint(plans: Sequence[UnitSchedule]) -> bool:
    """Tell whether both cores write all of their filters at once."""
    return len(plans) == 2 and all(isinstance(p.nest, ProductSchedule) and len(p.nest.chunks) == 1 for p in plans)


def _added_slabs(product: Product, filters: range) -> Iterator[AddedSlab]:
    """Yield the slabs of what is added to some of a product's filters, numbered from the first of these."""
    if product.residual is not None:
        first = product.residual_first + filters.start
        found = residual_slabs(product.residual, range(first, first + len(filters)), product.name)
        for slab, start in found.items():
            yield AddedSlab(start - first, start - first + slab.pitch, slab.row_words)


def _for_filters(epilogue: Epilogue, filters: Array) -> Epilogue:
    """Return an epilogue for some of the channels."""
    step = epilogue.requantise
    if step is None or len(step.multiplier) == 1:
        return epilogue
    return replace(epilogue, requantise=replace(step, multiplier=step.multiplier[filters], shift=step.shift[filters]))


def _block_diagonal(weight: Array, n_groups: int) -> Array:
    """Return the weights of several groups as those of one convolution over all of their channels."""
    n, c, kh, kw = weight.shape
    n_out, whole = n // n_groups, np.zeros((n, n_groups * c, kh, kw), np.int64)
    for g in range(n_groups):
        whole[g * n_out : (g + 1) * n_out, g * c : (g + 1) * c] = weight[g * n_out : (g + 1) * n_out]
    return whole


def _renamed(written: Written, filters: Array) -> Written:
    """Return what was written with the output's channels for those of the input."""
    return [(output, [int(filters[c]) if c >= 0 else c for c in channels]) for output, channels in written]
