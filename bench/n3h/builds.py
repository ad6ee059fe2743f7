"""The builds and the policies of the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from silicut.accelerators.gemm.config import N3H, Z020, DspCore, GemmConfig, LutCore, Memory
from silicut.accelerators.gemm.cost.published_policies import PUBLISHED_POLICY
from silicut.accelerators.gemm.cost.work import LayerWork, network_work, with_edge_bits
from silicut.compress.quantisation import BitPlan, LayerBits
from silicut.graph.layer_shapes import WEIGHTED, LayerShape
from silicut.zoo.layer_table import known_layers

LARGE = GemmConfig(
    name="z045",
    lut=LutCore(n_rows=14, n_columns=16, word_bits=288),
    dsp=DspCore(
        n_rows=4, n_inputs=16, n_outputs=20, n_passes=2, lhs_depth=1024, rhs_depth=1024, macs_per_slice_4bit=4,
        macs_per_slice_8bit=2,
    ),
    memory=Memory(n_ports=4),
    n_lanes=16,
    n_vector_lanes=16,
    fill_bits=256,
)  # fmt: skip
"""A build for an xc7z045."""

BUILDS = {"n3h": (N3H, "xc7z020"), "z020": (Z020, "xc7z020"), "z045": (LARGE, "xc7z045")}
"""Configurations with the parts that they are compared with; the first is a yardstick of time that fits no xc7z020."""

NETWORKS = ("resnet18", "mobilenet-v2")
POLICIES = ("published", "4/4", "lut-4/4", "dsp-4/4")
"""Bits: of the released search (ResNet-18 alone), and 4/4 with ends of 8/8 on both cores, on the LUT core, the DSP core."""


def plan_of(network: str, policy: str) -> BitPlan:
    """Return the widths of a policy."""
    shapes = known_layers(network)
    if policy != "published":
        return with_edge_bits(BitPlan.uniform(4, 4), shapes, 8)
    names = [shape.name for shape in shapes if shape.kind in WEIGHTED]
    bits = (LayerBits(layer.w_bits, layer.a_bits) for layer in PUBLISHED_POLICY)
    return BitPlan(default=LayerBits(8, 8), layers=dict(zip(names, bits, strict=True)))


def work_of(network: str, policy: str, shapes: Sequence[LayerShape] = ()) -> tuple[LayerWork, ...]:
    """Return the layers of a network at a policy; filters of the DSP core have 4 bits wherever activations have."""
    work = network_work(shapes or known_layers(network), plan_of(network, policy)).layers
    return tuple(dataclasses.replace(layer, dsp_bits=4 if layer.a_bits <= 4 else 8) for layer in work)


def build_of(name: str, policy: str) -> GemmConfig:
    """Return a build, without the core that a policy leaves idle."""
    config = BUILDS[name][0]
    if policy.startswith("lut"):
        return dataclasses.replace(config, dsp=None)
    return dataclasses.replace(config, lut=None) if policy.startswith("dsp") else config
