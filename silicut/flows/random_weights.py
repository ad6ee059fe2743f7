"""An integer network of any weights: what compiling and timing need, since no cycle depends on data."""

from __future__ import annotations

from pathlib import Path

from silicut.compress.quantisation.bits import BitPlan
from silicut.flows.estimate import network_of_file, network_of_folder
from silicut.graph import Network


def float_network(network: str, input_shape: tuple[int, ...] | None = None) -> Network:
    """Return a float network as it is quantised, with random weights where a name of the zoo comes without.

    Args:
        network: a name of the zoo, a folder of `silicut prune`, or the path of an ONNX file.
        input_shape: of one input of an ONNX file whose sizes are free.

    Raises:
        ConfigError, BadFile, UnsupportedModel: there is no such network, or it has no integer form.
    """
    from silicut.compress.quantisation import quantisable

    return quantisable(_captured(network, input_shape))


def _captured(network: str, input_shape: tuple[int, ...] | None) -> Network:
    import torch

    from silicut.graph import capture

    if network.endswith(".onnx"):
        return network_of_file(network, input_shape)
    if Path(network).is_dir():
        return network_of_folder(Path(network))
    from silicut.zoo import network as build
    from silicut.zoo import network_entry

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(network).eval()
    return capture(module, torch.zeros(1, *network_entry(network).input_shape))


def integer_network(network: Network, plan: BitPlan) -> Network:
    """Return a network in integers, its ranges those of one random image.

    Args:
        network: of `float_network`.
        plan: of bits.
    """
    import torch

    from silicut.compress.quantisation import find_sites
    from silicut.compress.quantisation.calibration import activation_quantisations, histograms
    from silicut.compress.quantisation.lowering import lower

    sites = find_sites(network)
    _, *sizes = network.tensors[network.inputs[0]].sizes(1)
    images = torch.randn(1, *sizes, generator=torch.Generator().manual_seed(0))
    found = activation_quantisations(sites, plan, histograms(network, list(sites.limits), [images]))
    return lower(sites, plan, found).network
