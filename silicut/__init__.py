"""Cut trained networks to fit the silicon they must run on.

Names are loaded on first use: importing the package imports neither PyTorch nor an engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from silicut.version import __version__

if TYPE_CHECKING:
    from silicut.compress import Plan as Plan
    from silicut.compress import Restrictions as Restrictions
    from silicut.compress.quantisation import BitPlan as BitPlan
    from silicut.compress.quantisation import LayerBits as LayerBits
    from silicut.flows.compare import compare as compare
    from silicut.flows.compile import CompileOptions as CompileOptions
    from silicut.flows.compile import compile_program as compile_program
    from silicut.flows.compiled import CompiledNetwork as CompiledNetwork
    from silicut.flows.compiled import load_compiled as load_compiled
    from silicut.flows.design import Design as Design
    from silicut.flows.design import DesignOptions as DesignOptions
    from silicut.flows.design import design as design
    from silicut.flows.gemm_target import GemmTarget as GemmTarget
    from silicut.flows.inspect import explain as explain
    from silicut.flows.inspect import inspect as inspect
    from silicut.flows.load import apply as apply
    from silicut.flows.load import kept_parts as kept_parts
    from silicut.flows.load import load as load
    from silicut.flows.prune import PAPER as PAPER
    from silicut.flows.prune import Pruned as Pruned
    from silicut.flows.prune import PruneOptions as PruneOptions
    from silicut.flows.prune import prune as prune
    from silicut.flows.quantise import Methods as Methods
    from silicut.flows.quantise import Quantised as Quantised
    from silicut.flows.quantise import QuantiseOptions as QuantiseOptions
    from silicut.flows.quantise import quantise as quantise
    from silicut.flows.simulate import Simulated as Simulated
    from silicut.flows.simulate import simulate as simulate
    from silicut.targets import MeasureOptions as MeasureOptions
    from silicut.targets import engine as engine
    from silicut.targets import measure as measure
    from silicut.targets.profile import ProfileOptions as ProfileOptions
    from silicut.targets.profile import profile_network as profile_network
    from silicut.training import Recipe as Recipe
    from silicut.training import sliced_optimizer_state as sliced_optimizer_state
    from silicut.training import sliced_state_dict as sliced_state_dict

_PLACES = {
    "PAPER": "flows.prune",
    "BitPlan": "compress.quantisation",
    "CompileOptions": "flows.compile",
    "CompiledNetwork": "flows.compiled",
    "Design": "flows.design",
    "DesignOptions": "flows.design",
    "GemmTarget": "flows.gemm_target",
    "LayerBits": "compress.quantisation",
    "MeasureOptions": "targets",
    "Methods": "flows.quantise",
    "Plan": "compress",
    "ProfileOptions": "targets.profile",
    "PruneOptions": "flows.prune",
    "Pruned": "flows.prune",
    "QuantiseOptions": "flows.quantise",
    "Quantised": "flows.quantise",
    "Recipe": "training",
    "Restrictions": "compress",
    "Simulated": "flows.simulate",
    "apply": "flows.load",
    "compare": "flows.compare",
    "compile_program": "flows.compile",
    "design": "flows.design",
    "engine": "targets",
    "explain": "flows.inspect",
    "inspect": "flows.inspect",
    "kept_parts": "flows.load",
    "load": "flows.load",
    "load_compiled": "flows.compiled",
    "measure": "targets",
    "profile_network": "targets.profile",
    "prune": "flows.prune",
    "quantise": "flows.quantise",
    "simulate": "flows.simulate",
    "sliced_optimizer_state": "training",
    "sliced_state_dict": "training",
}

__all__ = [
    "PAPER",
    "BitPlan",
    "CompileOptions",
    "CompiledNetwork",
    "Design",
    "DesignOptions",
    "GemmTarget",
    "LayerBits",
    "MeasureOptions",
    "Methods",
    "Plan",
    "ProfileOptions",
    "PruneOptions",
    "Pruned",
    "QuantiseOptions",
    "Quantised",
    "Recipe",
    "Restrictions",
    "Simulated",
    "__version__",
    "apply",
    "compare",
    "compile_program",
    "design",
    "engine",
    "explain",
    "inspect",
    "kept_parts",
    "load",
    "load_compiled",
    "measure",
    "profile_network",
    "prune",
    "quantise",
    "simulate",
    "sliced_optimizer_state",
    "sliced_state_dict",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
