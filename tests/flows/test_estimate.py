"""Estimates: from the network's name to figures, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from integer_networks import residual
from torch import nn

from silicut.accelerators.gemm.config import N3H, TINY
from silicut.compress.quantisation.bits import BitPlan
from silicut.flows.estimate import EstimateOptions, accelerator, device, estimate, known_plan, read_layers
from silicut.graph import capture
from silicut.graph.layer_shapes import layer_shapes
from silicut.graph.onnx_writer import to_onnx
from silicut.graph.storage import save_network
from silicut.numerics import save_quantised
from silicut.records import BadFile, Cache, ConfigError
from silicut.report.estimate import Estimate
from silicut.report.terminal_estimate import estimate_view

OPTIONS = EstimateOptions(plan=BitPlan.uniform(4, 4), edge_bits=8)


@pytest.fixture(scope="module")
def network():
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    return capture(module.eval(), torch.zeros(1, 3, 6, 6))


def text_of(found):
    from rich.console import Console

    console = Console(width=130, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(estimate_view(found))
    console.file.close()
    return console.export_text()


def test_resnet18():
    found = estimate(read_layers("resnet18"), OPTIONS, "resnet18")
    assert found.bits == "4/4 bits, ends 8/8"
    assert (found.n_macs, len(found.layers), found.on_host) == (1_814_073_344, 23, ())
    assert (
        0
        < found.any_split_cycles
        <= found.overlapped_cycles
        < found.in_turn_cycles
        == sum(layer.cycles for layer in found.layers)
    )
    assert all(layer.n_lut + layer.n_dsp == layer.n for layer in found.layers if layer.kind == "product")
    assert all(layer.cycles >= max(layer.lut_cycles, layer.dsp_cycles, layer.memory_cycles) for layer in found.layers)
    assert found.ms(100_000) == 1
    assert [sentence.split(":")[0] for sentence in found.exceeded] == ["LUTs", "DSP slices", "BRAM36"]


def test_it_is_a_record(tmp_path):
    found = estimate(read_layers("lenet5"), OPTIONS, "lenet5")
    assert Estimate.load(found.save(tmp_path / "estimate.json")) == found
    assert found.config_hash == N3H.hash


def test_a_page_of_it_says_what_figures_are():
    text = text_of(estimate(read_layers("resnet8"), dataclasses.replace(OPTIONS, part=device("xczu3eg", None)[0])))
    assert "network, 4/4 bits, ends 8/8, on n3h: at least 0." in text
    assert "modelled" in text
    assert "xczu3eg, recalled" in text
    assert "clock of 100 MHz assumed; 1.6 GB/s of memory." in text
    fits = text_of(estimate(read_layers("resnet8"), dataclasses.replace(OPTIONS, config=TINY)))
    assert "fits xc7z020" in fits


def test_a_board_with_a_slower_memory_is_said():
    part, board = device(None, "pynq-z1")
    assert part.name == "xc7z020"
    fast = dataclasses.replace(N3H, clock_hz=200e6)
    found = estimate(read_layers("lenet5"), dataclasses.replace(OPTIONS, config=fast, part=part, board=board))
    assert found.exceeded[-1] == "the ports carry 3.2 GB/s at 200 MHz, the memory of pynq-z1 2.1 GB/s"


def test_a_network_from_a_folder_and_a_file(network, tmp_path):
    expected = layer_shapes(network)
    save_network(network, tmp_path / "network.json", tmp_path / "model.safetensors")
    assert read_layers(str(tmp_path)) == expected
    (tmp_path / "net.onnx").write_bytes(to_onnx(network, batch=1))
    cache = Cache(tmp_path / "cache")
    first = read_layers(str(tmp_path / "net.onnx"), cache=cache)
    assert [(s.kind, s.in_shape, s.out_shape) for s in first] == [(s.kind, s.in_shape, s.out_shape) for s in expected]
    assert read_layers(str(tmp_path / "net.onnx"), cache=cache) == first
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_an_integer_network_from_its_folder(tmp_path):
    save_quantised(residual("uint4", "int4_narrow"), tmp_path)
    plan = BitPlan.uniform(4, 4)
    plan.save(tmp_path / "bits.json")
    assert known_plan(str(tmp_path)) == plan
    assert known_plan("resnet20") is None
    found = estimate(read_layers(str(tmp_path)), EstimateOptions(plan=plan))
    assert [(layer.name, layer.kind, layer.m, layer.k, layer.n) for layer in found.layers] == [
        ("conv1", "product", 144, 27, 8),
        ("depthwise", "depthwise", 144, 9, 8),
        ("pointwise", "product", 144, 8, 8),
        ("max_pool", "windows", 36, 9, 8),
        ("average", "windows", 9, 4, 8),
        ("conv2", "product", 9, 72, 8),
        ("global", "windows", 1, 9, 16),
        ("fc", "product", 1, 16, 10),
    ]
    assert found.on_host == ()


def test_accelerators(tmp_path):
    path = dataclasses.replace(N3H, name="mine").save(tmp_path / "mine.json")
    assert accelerator(str(path)).name == "mine"
    assert accelerator("tiny", 50).clock_hz == 50e6
    assert accelerator("tiny") is TINY


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: accelerator("n4h"),
            "accelerator must be one of n3h, bismo-pynq-z1, bismo-ultra96, z020, tiny, or a file such as mine.json, "
            "not 'n4h'",
        ),
        (lambda: accelerator("n3h", -1), "clock_hz must be positive, not -1000000.0"),
        (lambda: accelerator("nowhere.json"), "nowhere.json does not exist; check the path"),
        (lambda: device("xc7z045", "pynq-z1"), "board must carry xc7z045, not xc7z020 as pynq-z1 does; leave part out"),
        (lambda: read_layers("nowhere.onnx"), "nowhere.onnx does not exist; check the path"),
        (
            lambda: read_layers("."),
            ". must be a folder of silicut prune or quantise: it holds no network.json or integer.json; give such a folder",
        ),
        (lambda: EstimateOptions(edge_bits=9), "edge_bits must be 2..8, not 9"),
        (
            lambda: estimate([], OPTIONS, "empty"),
            "empty must have a convolution or a linear layer on images, not none: it has no operators",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(call, sentence):
    with pytest.raises((ConfigError, BadFile)) as raised:
        call()
    assert str(raised.value) == sentence


def test_more_bits_never_take_less_time():
    times = [
        estimate(read_layers("resnet20"), EstimateOptions(plan=BitPlan.uniform(b, b))).in_turn_cycles for b in range(2, 9)
    ]
    assert (np.diff(times) >= 0).all()
