"""An ONNX file as a `Network`, with what is needed to write one back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from silicut.graph.from_onnx.folding import Batches, Known
from silicut.graph.from_onnx.opened import OPSET_RANGE, OpenedModel, known_shapes, open_model
from silicut.graph.from_onnx.reader import Reader, Use
from silicut.graph.from_onnx.table import RULES
from silicut.graph.module import to_module
from silicut.graph.network import Network
from silicut.records import UnsupportedModel

_TOLERANCE_FRAC = 1e-4  # of the greatest output: other batches may be summed in another order


@dataclass(frozen=True)
class Captured:
    """A captured file.

    Attributes:
        model: the file.
        network: what it computes.
        uses: where its parameters come from.
        owners: the name of the node that each operator comes from.
        known: the value of every tensor that is constant or a matter of shapes.
        batches: the batch sizes at which values are known.
    """

    model: OpenedModel
    network: Network
    uses: tuple[Use, ...]
    owners: Mapping[str, str]
    known: Mapping[str, Known]
    batches: Batches


def capture_onnx(path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None) -> Network:
    """Return the network that an ONNX file computes; its nodes' and tensors' names stay.

    Parameters have the names of the initialisers; those of convolutions, matrix products and norms are trainable. Chains
    of nodes that compute shapes or constants are evaluated. The batch, the first axis, stays free where the file leaves it
    free. A batch that the file fixes is freed where that changes nothing: two batches at once must give, on random inputs,
    what they give one after the other.

    Args:
        path: an ONNX file of operator sets 11 to 23.
        shapes: for inputs with further free axes, by name, their sizes behind the batch axis.

    Raises:
        BadFile: the file is missing or damaged.
        UnsupportedModel: it has operators that are not known, all of which are listed, or another operator set.
        ConfigError: an input has free axes other than the first, or `shapes` does not fit.
    """
    return read_model(open_model(path), shapes or {}).network


def read_model(model: OpenedModel, shapes: Mapping[str, Sequence[int]]) -> Captured:
    """Return an opened model as a network, with what is needed to write it back; raises what `capture_onnx` raises."""
    known = known_shapes(model, shapes)
    captured = _read(model, known)
    sizes = {shape[0] if shape else 0 for shape in known.values()}
    if len(sizes) != 1 or min(sizes) < 1:
        return captured
    try:
        freed = _read(model, {name: (-1, *shape[1:]) for name, shape in known.items()}, min(sizes))
    except UnsupportedModel:
        return captured
    return freed if _is_same(captured.network, freed.network, min(sizes)) else captured


def _read(model: OpenedModel, shapes: Mapping[str, tuple[int, ...]], freed_batch: int | None = None) -> Captured:
    reader = Reader(model, shapes, freed_batch)
    offenders = reader.read(RULES)
    if offenders:
        kinds = ", ".join(sorted(RULES))
        raise UnsupportedModel(offenders, f"Read are, of operator sets {OPSET_RANGE}: {kinds}; constants of any operator")
    return Captured(model, reader.network(), tuple(reader.uses), reader.owners, reader.known, reader.batches)


def _is_same(fixed: Network, freed: Network, batch: int) -> bool:
    """Tell whether two batches at once give what they give one after the other, on random inputs."""
    generator = torch.Generator().manual_seed(0)
    tensors = [fixed.tensors[name] for name in fixed.inputs]
    drawn = [torch.randn((2 * batch, *tensor.shape[1:]), generator=generator) for tensor in tensors]
    types = [getattr(torch, tensor.dtype) for tensor in tensors]
    inputs = [(x if dtype.is_floating_point else x.abs()).to(dtype) for x, dtype in zip(drawn, types, strict=True)]
    with torch.no_grad():
        together = _outputs(freed, inputs)
        halves = [_outputs(fixed, [x[i * batch : (i + 1) * batch] for x in inputs]) for i in (0, 1)]
    return all(_are_close(whole, parts) for whole, *parts in zip(together, *halves, strict=True))


def _outputs(network: Network, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    result = to_module(network)(*inputs)
    return [result] if isinstance(result, torch.Tensor) else list(result)


def _are_close(whole: torch.Tensor, parts: Sequence[torch.Tensor]) -> bool:
    if whole.dim() == 0 or whole.shape[1:] != parts[0].shape[1:]:
        return False
    a, b = whole.double(), torch.cat(list(parts)).double()
    return a.shape == b.shape and bool((a - b).abs().max() <= _TOLERANCE_FRAC * b.abs().max())
