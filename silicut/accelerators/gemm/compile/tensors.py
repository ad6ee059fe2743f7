"""Where every tensor of a network lies: what layers have written, what the host writes, and views of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from silicut.accelerators.gemm.compile.fused import FusedLayer
from silicut.accelerators.gemm.compile.memory_image import MemoryImage
from silicut.accelerators.gemm.compile.partition import Partition
from silicut.accelerators.gemm.compile.views import CHANNEL_GROUP, NOTHING, Part, View, joined, padded_to_group
from silicut.accelerators.gemm.program import Unrolled
from silicut.graph import Operator
from silicut.numerics import Concatenate, Convolution2d, IntegerFormat, Pad, Reshape, Slice
from silicut.records import UnsupportedModel

_FEW_CHANNELS = CHANNEL_GROUP


@dataclass(eq=False)
class Tensors:
    """The views of a network's tensors, made when they are first asked for.

    Attributes:
        partition: the network.
        image: memory for inputs and constants.
        unrolls_input: whether inputs of few channels are packed by the host.
    """

    partition: Partition
    image: MemoryImage
    unrolls_input: bool = True
    _views: dict[str, View] = field(default_factory=dict)

    def __getitem__(self, name: str) -> View:
        if name not in self._views:
            self._views[name] = self._input(name) if name in self.partition.network.inputs else self._alias(name)
        return self._views[name]

    def __contains__(self, name: str) -> bool:
        return name in self._views

    def written(self, name: str, parts: tuple[Part, ...]) -> None:
        """Note where a layer has written a tensor."""
        format, height, width = self.format(name), parts[0].slab.height, parts[0].slab.width
        n_channels = sum(channel != NOTHING for part in parts for channel in part.channels)
        self._views[name] = View(format=format, n_channels=n_channels, height=height, width=width, parts=parts)

    def places(self) -> Mapping[str, View]:
        """Return the views of all tensors that lie somewhere, by name."""
        for name in self.partition.aliases:
            if all(source in self for source in self._sources(name)):
                _ = self[name]
        return dict(self._views)

    def format(self, name: str) -> IntegerFormat:
        """Return the number format of a tensor."""
        return IntegerFormat.of(self.partition.network.tensors[name].dtype)

    def _sources(self, name: str) -> list[str]:
        return [reference.name for reference in self.partition.aliases[name].arguments["inputs"]]

    def _input(self, name: str) -> View:
        shape = self.partition.network.tensors[name].sizes(1)
        channels, height, width = shape[1], *(shape[2:] or (1, 1))
        unrolled = self._unrolling(name, channels, height)
        format = self.format(name)
        elements = channels * unrolled.n_taps if unrolled else channels
        rows = unrolled.n_rows if unrolled else height
        pitch = elements if self._is_read_by_products(name) else len(padded_to_group(range(elements)))
        slab = self.image.slab(pitch, rows, width, format.bits)
        order = (*range(elements), *[NOTHING] * (pitch - elements))
        return View(
            format=format, n_channels=channels, height=height, width=width, parts=(Part(slab, 0, order),), unrolled=unrolled
        )

    def _readers(self, name: str) -> list[FusedLayer]:
        return [layer for layer in self.partition.layers if name in (layer.source, layer.epilogue.residual)]

    def _is_read_by_products(self, name: str) -> bool:
        """Tell whether undivided convolutions and fully connected layers alone read a tensor, which may have any pitch."""
        reads_alias = any(reader.outputs[0] in self.partition.aliases for reader in self._operators(name))
        return not reads_alias and all(
            layer.is_product and layer.source == name and getattr(layer.roots[0], "groups", 1) == 1
            for layer in self._readers(name)
        )

    def _operators(self, name: str) -> tuple[Operator, ...]:
        return self.partition.network.consumers.get(name, ())

    def _unrolling(self, name: str, channels: int, height: int) -> Unrolled | None:
        """Return how the host packs an input that one convolution of few channels alone reads, None for rows as they are."""
        readers = self._readers(name)
        if not self.unrolls_input or not self._is_read_by_products(name) or len(readers) != 1:
            return None
        if len(self._operators(name)) != 1 or name in self.partition.outputs:
            return None
        root = readers[0].roots[0]
        if not isinstance(root, Convolution2d) or channels >= _FEW_CHANNELS:
            return None
        kh, dilation = root.weight.shape[2], root.dilation[0]
        if kh == 1 or dilation != 1:
            return None
        top, _, bottom, _ = root.padding
        n_rows = (height + top + bottom - kh) // root.stride[0] + 1
        return Unrolled(n_taps=kh, stride=root.stride[0], pad_top=top, n_rows=n_rows, pad_value=root.input_zero_point)

    def _alias(self, name: str) -> View:
        operator = self.partition.aliases[name]
        integer = self.partition.operators[operator.name]
        views = [self[source] for source in self._sources(name)]
        if isinstance(integer, Reshape):
            return views[0]
        flattened = [view for view in views if self._is_flattened(name, view)]
        if flattened:
            raise UnsupportedModel(
                [f"{operator.name} joins or cuts the vector of a flattened map"],
                "Flatten behind it, or pool the map to one pixel before",
            )
        if isinstance(integer, Concatenate):
            return joined(views)
        if isinstance(integer, Slice):
            return views[0].selected(range(*slice(integer.start, integer.stop, integer.step).indices(views[0].n_channels)))
        assert isinstance(integer, Pad)
        return self._padded(views[0], integer)

    def _is_flattened(self, name: str, view: View) -> bool:
        return len(self.partition.network.tensors[name].shape) == 2 and view.height * view.width > 1

    def _padded(self, view: View, pad: Pad) -> View:
        before, after = pad.pads[1]
        parts = [part.renamed([c + before if c != NOTHING else c for c in part.channels]) for part in view.parts]
        if before:
            parts.insert(0, self.image.constant(view, range(before), pad.value))
        if after:
            first = before + view.n_channels
            parts.append(self.image.constant(view, range(first, first + after), pad.value))
        return replace(view, n_channels=before + view.n_channels + after, parts=tuple(parts))
