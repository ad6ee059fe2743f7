"""Random builds of the accelerator that real layers fit, and small integer networks of every kind of layer."""

import numpy as np
from integer_networks import Growing, residual

from silicut.accelerators.gemm.config import Buffers, DspCore, GemmConfig, LutCore, Memory
from silicut.numerics import IntegerFormat, Linear, Quantisation, Requantise, Reshape


def random_config(rng):
    """One build; sizes are odd where the hardware allows it."""

    def pick(*options):
        return int(rng.choice(options))

    passes = pick(2, 4)
    lut = LutCore(
        n_rows=pick(1, 2, 3, 7, 8), n_columns=pick(3, 4, 8, 11, 16), word_bits=32 * pick(1, 2, 3, 4, 9),
        n_accumulator_banks=pick(2, 3),
        lhs_depth=pick(128, 256, 1024), rhs_depth=pick(256, 512, 1024),
    )  # fmt: skip
    dsp = DspCore(
        n_rows=pick(1, 2, 4), n_inputs=pick(4, 8, 16), n_passes=passes, n_outputs=passes * pick(2, 4, 6),
        lhs_depth=pick(256, 1024, 2048), rhs_depth=pick(256, 512, 4096), macs_per_slice_4bit=pick(2, 4),
        macs_per_slice_8bit=pick(1, 2), n_accumulator_banks=pick(2, 3, 8),
    )  # fmt: skip
    every, n_ports = pick(0, 13, 100), pick(1, 2, 3, 4)
    memory = Memory(
        n_ports=n_ports,
        has_core_ports=n_ports % 2 == 0 and bool(pick(0, 1)),
        latency_cycles=pick(0, 8, 33),
        refresh_every=every,
        refresh_cycles=pick(1, 7) if every else 0,
    )
    cores = pick(0, 1, 2, 3)
    return GemmConfig(
        name="random", lut=None if cores == 1 else lut, dsp=None if cores == 2 else dsp, memory=memory,
        buffers=Buffers(feature_words=pick(512, 2048), residual_words=pick(256, 1024), output_words=pick(512, 2048),
                        table_entries=pick(64, 1024)),
        n_lanes=pick(1, 2, 5, 8), n_vector_lanes=pick(1, 3, 8), fill_bits=pick(32, 64, 100, 128),
    )  # fmt: skip


def long_rows(seed=0):
    """A network whose rows are longer than small banks: a wide convolution, grouped filters, a layer over the whole map."""
    rng, uint4 = np.random.default_rng(seed), IntegerFormat.of("uint4")
    net = Growing("uint4", (24, 9, 7), 0.1, 3)
    how = {"weights": "int3"}
    net.layer(rng, "wide", "x", "a", 40, scale=0.2, zero_point=2, kernel=5, **how)
    net.layer(rng, "grouped", "a", "b", 20, scale=0.2, zero_point=0, groups=4, **how)
    net.same(Reshape(input_format=uint4, shape=(-1,)), "flatten", ["b"], "flat", (20 * 63,))
    w = IntegerFormat.of("int5")
    head = Linear(
        weight=rng.integers(w.min, w.max + 1, (20, 20 * 63)).astype(np.int8), bias=None, input_format=uint4, weight_format=w,
        input_zero_point=0,
    )  # fmt: skip
    steps = rng.uniform(0.5, 2, 20)
    int32 = IntegerFormat(32)
    net.add(head, "fc", ["flat"], "sums", (20,), Quantisation.per_channel(int32, steps, axis=1))
    step = Requantise.by(steps / 300, input_format=int32, output_format=uint4, output_zero_point=1)
    net.add(step, "fc.step", ["sums"], "y", (20,), net.of(300.0, 1))
    return net.finished("y")


NETWORKS = {
    "residual-8": lambda: residual("uint8", "int8_narrow").network,
    "residual-4": lambda: residual("uint4", "int4_narrow").network,
    "residual-signed": lambda: residual("int3", "int6").network,
    "long-rows": lambda: long_rows().network,
}
"""Makers of integer networks by name."""
