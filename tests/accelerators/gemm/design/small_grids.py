"""Grids of a few hundred builds, small enough to try all of them."""

import itertools

from silicut.accelerators.gemm.cost.resources import Limits
from silicut.accelerators.gemm.cost.work import network_work
from silicut.accelerators.gemm.design import GRID, DesignProblem
from silicut.compress.quantisation.bits import BitPlan
from silicut.search import Parameter, Space
from silicut.targets.parts import device_table
from silicut.zoo.layer_table import known_layers

FEW = {
    "lut_rows": (2, 8),
    "lut_columns": (4, 12),
    "lut_word_bits": (64, 288),
    "lut_lhs_depth": (512, 1024),
    "lut_rhs_depth": (512,),
    "dsp_rows": (1, 5),
    "dsp_inputs": (4, 16),
    "dsp_outputs": (4, 8),
    "dsp_passes": (2, 4),
    "dsp_lhs_depth": (512,),
    "dsp_rhs_depth": (512, 1024),
    "n_lanes": (2, 8),
    "n_vector_lanes": (2,),
    "adds_in_luts": (0, 1),
    "fill_bits": (64, 256),
    "feature_words": (512, 2048),
    "residual_words": (512,),
    "output_words": (1024,),
    "table_entries": (256,),
}


def space(**levels):
    """Return the space of `FEW` with other levels of some parameters."""
    chosen = FEW | levels
    return Space(tuple(Parameter(p.name, chosen[p.name]) for p in GRID.parameters))


def points(of):
    """Yield every point of a space whose DSP core can be built."""
    names = [parameter.name for parameter in of.parameters]
    for levels in itertools.product(*(parameter.levels for parameter in of.parameters)):
        point = dict(zip(names, levels, strict=True))
        if point["dsp_outputs"] % point["dsp_passes"] == 0:
            yield point


def problem(network="lenet5", luts=0.85, of=None, dsps=1.0, plan=None):
    """Return the problem of a network of the zoo on an xc7z020 of which so many look-up tables and slices may be used."""
    layers = network_work(known_layers(network), plan or BitPlan.uniform(4, 4)).layers
    part = device_table().part("xc7z020")
    return DesignProblem(
        layers=layers, part=part, limits=Limits(n_luts=luts, n_dsps=dsps), space=of or space(), network=network
    )
