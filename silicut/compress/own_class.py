"""The user's own class with smaller parameters, where that computes the pruned network; otherwise the generated module."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from silicut.graph import Network, NetworkModule, to_module

_SIZES = {  # attributes that repeat a parameter's size: (class, attribute, axis of the weight)
    nn.modules.conv._ConvNd: (("out_channels", 0), ("in_channels", 1)),
    nn.Linear: (("out_features", 0), ("in_features", 1)),
    nn.modules.batchnorm._BatchNorm: (("num_features", 0),),
    nn.PReLU: (("num_parameters", 0),),
}


def smaller_own_class(module: nn.Module, network: Network, removed_blocks: Sequence[str] = ()) -> nn.Module | None:
    """Return a copy of the user's module that computes a pruned network, or None where its class cannot.

    Parameters are replaced by those of the network, sizes of standard layers are brought up to date, and removed blocks
    become identities. The copy is returned only if its outputs equal the network's on three random inputs.

    Args:
        module: what the dense network was captured from; it is not changed.
        network: the pruned network.
        removed_blocks: names of removed residual blocks.
    """
    try:
        smaller = copy.deepcopy(module).eval()
        for name in removed_blocks:
            _replace(smaller, name, nn.Identity())
        _set_parameters(smaller, network)
        return smaller if _is_same(smaller, to_module(network)) else None
    except Exception:  # a user's forward may raise anything once its sizes change; the generated module always works
        return None


def _replace(module: nn.Module, path: str, new: nn.Module) -> None:
    owner, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(owner), leaf, new)


def _set_parameters(module: nn.Module, network: Network) -> None:
    for name, old in [*module.named_parameters(), *module.named_buffers()]:
        value = torch.from_numpy(network.parameters[name].copy()).to(old.device)
        owner, _, leaf = name.rpartition(".")
        layer = module.get_submodule(owner)
        if isinstance(old, nn.Parameter):
            layer.register_parameter(leaf, nn.Parameter(value, requires_grad=old.requires_grad))
        else:
            layer.register_buffer(leaf, value)
    for layer in module.modules():
        _update_sizes(layer)


def _update_sizes(layer: nn.Module) -> None:
    for kind, attributes in _SIZES.items():
        if isinstance(layer, kind) and isinstance(layer.weight, torch.Tensor):
            if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == layer.in_channels > 1:
                layer.groups = layer.weight.shape[0] * layer.in_channels // layer.out_channels
            groups = getattr(layer, "groups", 1)
            for attribute, axis in attributes:
                setattr(layer, attribute, layer.weight.shape[axis] * (groups if attribute == "in_channels" else 1))


def _is_same(own: nn.Module, generated: NetworkModule) -> bool:
    network = generated.network
    with torch.no_grad():
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            inputs = [torch.randn(network.tensors[n].sizes(2), generator=generator) for n in network.inputs]
            for a, b in zip(_tensors(own(*inputs)), _tensors(generated(*inputs)), strict=True):
                if a.shape != b.shape or not torch.allclose(a, b, rtol=1e-4, atol=1e-5):
                    return False
    return True


def _tensors(output: object) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return list(values)  # type: ignore[call-overload, no-any-return]
