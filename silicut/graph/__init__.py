"""The network as data, and neutral edits of it. PyTorch is imported only on first use of what needs it."""

from typing import TYPE_CHECKING

from silicut.graph.blocks import Block, find_blocks, remove_blocks
from silicut.graph.channels import ChannelGroup, Channels, FrozenChannels, Member
from silicut.graph.edit import bypass, drop_dead, fold_batch_norm, keep_channels
from silicut.graph.grouping import find_channels
from silicut.graph.network import Network, Operator, Ref, Tensor
from silicut.records.deferred import deferred

if TYPE_CHECKING:
    from silicut.graph.from_onnx import capture_onnx, write_back
    from silicut.graph.from_torch import capture
    from silicut.graph.module import NetworkModule, network_with_weights, to_module
    from silicut.graph.proof import prove_group

# No submodule may have the name of something that it gives away here: it would hide it once imported.
_DEFERRED = {
    "capture": "from_torch",
    "capture_onnx": "from_onnx",
    "NetworkModule": "module",
    "network_with_weights": "module",
    "prove_group": "proof",
    "to_module": "module",
    "write_back": "from_onnx",
}

__all__ = [
    "Block",
    "ChannelGroup",
    "Channels",
    "FrozenChannels",
    "Member",
    "Network",
    "NetworkModule",
    "Operator",
    "Ref",
    "Tensor",
    "bypass",
    "capture",
    "capture_onnx",
    "drop_dead",
    "find_blocks",
    "find_channels",
    "fold_batch_norm",
    "keep_channels",
    "network_with_weights",
    "prove_group",
    "remove_blocks",
    "to_module",
    "write_back",
]

__getattr__ = deferred(__name__, _DEFERRED)
