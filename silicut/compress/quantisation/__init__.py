"""From float networks to integer ones: widths, where numbers are rounded, ranges, weights, and the lowering itself.

What needs PyTorch (`calibration`, `lowering`) is imported from its own module.
"""

from silicut.compress.quantisation.bits import BitPlan, FilterGroup, LayerBits
from silicut.compress.quantisation.sites import Site, Sites, find_sites, quantisable
from silicut.compress.quantisation.weights import IntegerWeights, quantise_weights, weight_scales

__all__ = [
    "BitPlan",
    "FilterGroup",
    "IntegerWeights",
    "LayerBits",
    "Site",
    "Sites",
    "find_sites",
    "quantisable",
    "quantise_weights",
    "weight_scales",
]
