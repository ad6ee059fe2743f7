"""The user's own class with smaller parameters, where that computes the pruned network; otherwise the generated module."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from silicut.graph import Network, NetworkModule, to_module

_Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TOLERANCE_FRAC = 1e-4  # of the greatest output


def smaller_own_class(module: nn.Module, network: Network, removed_blocks: Sequence[str] = ()) -> nn.Module | None:
    """Return a copy of the user's module that computes a pruned network, or None where its class cannot.

    Parameters are replaced by those of the network, sizes of standard layers are brought up to date, and removed blocks
    become identities. The copy is returned only if its outputs equal the network's on three random inputs, and if the
    network reads all its parameters: a second head that only training uses would not fit its features any more.

    Args:
        module: what the dense network was captured from; it is not changed. Generated modules have no class of their own.
        network: the pruned network.
        removed_blocks: names of removed residual blocks.
    """
    if isinstance(module, NetworkModule):
        return None
    try:
        smaller = copy.deepcopy(module).eval()
        for name in removed_blocks:
            _replace(smaller, name, nn.Identity())
        _set_parameters(smaller, network)
        is_read = all(network.aliases.get(name, name) in network.consumers for name, _ in smaller.named_parameters())
        return smaller if is_read and _is_same(smaller, to_module(network)) else None
    except Exception:  # a user's forward may raise anything once its sizes change; the generated module always works
        return None


def _replace(module: nn.Module, path: str, new: nn.Module) -> None:
    owner, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(owner), leaf, new)


def _set_parameters(module: nn.Module, network: Network) -> None:
    """Replace all parameters and buffers; those that are one under several names stay one."""
    made: dict[str, torch.Tensor] = {}
    everything = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, old in everything:
        read = network.aliases.get(name, name)
        owner, _, leaf = name.rpartition(".")
        if read not in made:
            value = torch.from_numpy(network.parameters[read].copy()).to(old.device)
            made[read] = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
        setattr(module.get_submodule(owner), leaf, made[read])
    for layer in module.modules():
        _update_sizes(layer)


def _update_sizes(layer: nn.Module) -> None:
    """Bring the attributes of standard layers that repeat a parameter's size up to date."""
    if isinstance(layer, _Convolution):
        n_out, n_read = layer.weight.shape[:2]
        if layer.groups == layer.in_channels > 1:  # depthwise: the same number of filters for each channel
            layer.groups = n_out * layer.in_channels // layer.out_channels
        layer.out_channels, layer.in_channels = n_out, n_read * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
        sized = layer.weight if layer.running_mean is None else layer.running_mean
        layer.num_features = layer.num_features if sized is None else len(sized)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)


def _is_same(own: nn.Module, generated: NetworkModule) -> bool:
    network = generated.network
    device = next((p.device for p in own.parameters()), torch.device("cpu"))
    with torch.no_grad():
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            inputs = [torch.randn(network.tensors[n].sizes(2), generator=generator) for n in network.inputs]
            found = _tensors(own(*(x.to(device) for x in inputs)))
            if not all(_are_close(a.cpu(), b) for a, b in zip(found, _tensors(generated(*inputs)), strict=True)):
                return False
    return True


def _are_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= _TOLERANCE_FRAC * b.abs().max())


def _tensors(output: object) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return list(values)  # type: ignore[call-overload, no-any-return]
