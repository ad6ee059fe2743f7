"""What the accelerator has to do, from sizes and bits."""

import pytest

from silicut.accelerators.gemm.cost.published_policies import RESNET18
from silicut.accelerators.gemm.cost.work import Kind, network_work, with_edge_bits
from silicut.compress.quantisation.bits import BitPlan, LayerBits
from silicut.graph.layer_shapes import LayerShape
from silicut.records import ConfigError
from silicut.zoo.layer_table import known_layers

PLAN = BitPlan.uniform(3, 4)


def work_of(name, plan=PLAN):
    return network_work(known_layers(name), plan)


def conv(name, source, in_shape, out_shape, **more):
    return LayerShape(name=name, kind="conv2d", inputs=(source,), in_shape=in_shape, out_shape=out_shape, **more)


def test_resnet18_is_the_network_of_the_papers():
    products = [layer for layer in work_of("resnet18").layers if layer.kind is Kind.PRODUCT]
    found = [(layer.m, layer.k, layer.out_channels) for layer in products]
    assert sorted(found) == sorted((gemm.m, gemm.k, gemm.n) for gemm in RESNET18)


@pytest.mark.parametrize(
    ("name", "n_macs"),
    [("resnet20", 40_551_040), ("mobilenet-v2", 300_774_272), ("lenet5", 416_520), ("alexnet", 714_188_480)],
)  # fmt: skip
def test_all_products_are_there(name, n_macs):
    work = work_of(name)
    assert sum(layer.n_macs for layer in work.layers) == n_macs
    assert work.on_host == ()


def test_bits_follow_the_plan():
    layers = {layer.name: layer for layer in work_of("resnet18").layers}
    assert len(layers) == 23  # the eight additions belong to products
    first, last = layers["layer1.0.conv1"], layers["layer4.1.conv2"]
    assert (first.a_bits, first.w_bits, first.out_bits, first.copy_bits, first.added_bits) == (4, 3, 4, 0, 0)
    # the sum of the first block is read by a convolution (4 bits) and by the next addition (8 bits)
    inner = layers["layer1.0.conv2"]
    assert (inner.out_bits, inner.copy_bits, inner.added_bits) == (8, 4, 8)
    assert (last.out_bits, last.copy_bits) == (8, 0)  # the average pool asks for 8
    assert (layers["fc"].out_bits, layers["fc"].a_bits, layers["conv1"].a_bits) == (8, 4, 4)


def test_the_shortcut_that_is_made_last_adds():
    layers = {layer.name: layer for layer in work_of("resnet18").layers}
    assert layers["layer2.0.downsample.0"].added_bits == 8
    assert layers["layer2.0.conv2"].added_bits == 0


def test_shortcuts_without_weights_run_in_the_vector_unit():
    layers = {layer.name: layer for layer in work_of("resnet20").layers}
    subsample = layers["layer2.0.slice_2"]
    assert subsample.kind is Kind.WINDOWS
    assert (subsample.in_height, subsample.out_height, subsample.n_rows_read) == (32, 16, 16)
    assert "layer2.0.slice_1" not in layers
    assert layers["layer2.0.add"].added_bits == 8


def test_edges():
    shapes = known_layers("resnet18")
    plan = with_edge_bits(BitPlan(default=LayerBits(4, 4), layers={"fc": LayerBits(6, 5)}), shapes, 8)
    layers = {layer.name: layer for layer in network_work(shapes, plan).layers}
    assert [(layers[name].w_bits, layers[name].a_bits) for name in ("conv1", "fc", "layer1.0.conv1")] == [
        (8, 8),
        (6, 5),
        (4, 4),
    ]
    assert [layers[name].dsp_bits for name in ("conv1", "fc", "layer1.0.conv1")] == [8, 8, 4]


def test_rows_that_no_window_sees_are_not_read():
    shapes = [
        conv("all", "x", (4, 9, 9), (8, 9, 9), kernel=(3, 3), padding=(1, 1)),
        conv("half", "all", (8, 9, 9), (8, 5, 5), strides=(2, 2)),
        conv("far", "half", (8, 5, 5), (8, 2, 2), kernel=(2, 2), dilation=(3, 3)),
    ]
    assert [layer.n_rows_read for layer in network_work(shapes, PLAN).layers] == [9, 5, 4]


def test_zeros_around_a_map_cost_nothing():
    pad = LayerShape(name="pad", kind="pad", inputs=("x",), in_shape=(4, 8, 8), out_shape=(4, 9, 9))
    shapes = [pad, conv("conv", "pad", (4, 9, 9), (8, 4, 4), kernel=(3, 3), strides=(2, 2))]
    (layer,) = network_work(shapes, PLAN).layers
    assert (layer.in_height, layer.in_width) == (8, 8)


def test_groups():
    grouped = conv("grouped", "x", (8, 4, 4), (16, 4, 4), n_groups=2)
    depthwise = conv("depthwise", "grouped", (16, 4, 4), (16, 4, 4), kernel=(3, 3), padding=(1, 1), n_groups=16)
    first, second = network_work([grouped, depthwise], PLAN).layers
    assert (first.kind, first.k, first.n_macs) == (Kind.PRODUCT, 4, 16 * 16 * 4)
    assert (second.kind, second.k, second.n_macs) == (Kind.DEPTHWISE, 9, 16 * 16 * 9)


def test_what_the_accelerator_lacks_is_named():
    work = work_of("vit-ti")
    assert work.on_host[0] == "patch_embed.transpose (transpose)"
    assert len(work.layers) == 2


def test_a_plan_for_another_network_is_refused():
    plan = BitPlan(default=LayerBits(4, 4), layers={"layer9.conv1": LayerBits(2, 2)})
    with pytest.raises(ConfigError, match=r"layer9\.conv1"):
        work_of("resnet18", plan)
