"""Random layers and machines for properties of the models of cost."""

import dataclasses

from hypothesis import strategies as st

from silicut.accelerators.gemm.config import DspCore, GemmConfig, LutCore, Memory
from silicut.accelerators.gemm.cost.work import Kind, LayerWork, dsp_bits


@st.composite
def layers(draw, kinds=tuple(Kind)):
    """A layer of any kind whose map and kernel fit each other."""
    kind = draw(st.sampled_from(kinds))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    stride = draw(st.integers(1, 3))
    height, width = (draw(st.integers(k, 24)) for k in kernel)
    out = tuple((size - k) // stride + 1 for size, k in zip((height, width), kernel, strict=True))
    channels, n = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    own = {Kind.DEPTHWISE: (channels, channels), Kind.WINDOWS: (channels, 1), Kind.PRODUCT: (n, 1)}[kind]
    rows = {y * stride + i for y in range(out[0]) for i in range(kernel[0])}
    bits = st.integers(1, 8)
    a_bits, w_bits = draw(bits), 0 if kind is Kind.WINDOWS else draw(bits)
    return LayerWork(
        name="layer", kind=kind, in_channels=channels, in_height=height, in_width=width, out_channels=own[0],
        out_height=out[0], out_width=out[1], kernel_height=kernel[0], kernel_width=kernel[1], stride_x=stride,
        n_rows_read=len(rows), n_groups=own[1], a_bits=a_bits, w_bits=w_bits,
        dsp_bits=dsp_bits(a_bits, w_bits),
        out_bits=draw(bits), copy_bits=draw(st.integers(0, 4)), added_bits=draw(st.integers(0, 8)),
        may_be_unrolled=kind is Kind.PRODUCT and draw(st.booleans()),
    )  # fmt: skip


@st.composite
def configs(draw, cores=("both", "lut", "dsp")):
    """A small machine with one core or both."""
    has = draw(st.sampled_from(cores))
    passes = draw(st.sampled_from((2, 4)))
    lut = LutCore(n_rows=draw(st.integers(1, 9)), n_columns=draw(st.integers(1, 17)), word_bits=32 * draw(st.integers(1, 6)))
    dsp = DspCore(
        n_rows=draw(st.integers(1, 4)), n_inputs=draw(st.sampled_from((4, 8, 12))), n_passes=passes,
        n_outputs=passes * draw(st.integers(1, 6)), macs_per_slice_4bit=draw(st.sampled_from((2, 4))),
        macs_per_slice_8bit=draw(st.sampled_from((1, 2))),
    )  # fmt: skip
    every = draw(st.sampled_from((0, 7, 100)))
    memory = Memory(
        n_ports=draw(st.integers(1, 5)), latency_cycles=draw(st.integers(0, 40)), refresh_every=every,
        refresh_cycles=3 if every else 0,
    )  # fmt: skip
    return GemmConfig(
        lut=None if has == "dsp" else lut, dsp=None if has == "lut" else dsp, memory=memory,
        n_lanes=draw(st.integers(1, 16)), n_vector_lanes=draw(st.integers(1, 9)),
        fill_bits=draw(st.sampled_from((32, 64, 128, 100))),
    )  # fmt: skip


def more(config, **changes):
    """A machine with other sizes."""
    return dataclasses.replace(config, **changes)
