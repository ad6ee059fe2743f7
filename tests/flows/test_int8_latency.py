"""Layers in float and int8: all time is accounted for, and layers are those of the float network."""

import pytest
import torch
from torch import nn

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.flows.int8_latency import int8_latency
from silicut.graph import capture
from silicut.report.layer_latency import Int8Latency, LayerLatency
from silicut.targets import EngineSettings, MeasureOptions

pytestmark = pytest.mark.needs_ort


SHORTLY = MeasureOptions(n_rounds=2, max_rounds=2, rounds_per_session=2, refuse_frac=9.0, refuse_bias_frac=9.0)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.conv1, self.conv2 = (nn.Conv2d(n, 32, 3, padding=1) for n in (3, 32, 32))
        self.norm, self.head = nn.BatchNorm2d(32), nn.Linear(32, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.conv2(torch.relu(self.conv1(x))))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def test_every_layer_has_both_times(tmp_path):
    pytest.importorskip("onnxruntime")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = quantisable(capture(Residual().eval(), x))
    sites, plan = find_sites(network), BitPlan(default=LayerBits(8, 8))
    quantised = lower(sites, plan, activation_quantisations(sites, plan, histograms(network, list(sites.limits), [x])))
    found = int8_latency(network, quantised, measuring=SHORTLY)
    times = {each.name: each for each in found.layers}
    assert {"stem", "conv1", "conv2", "head"} < set(times)
    convs = [times[name] for name in ("stem", "conv1", "conv2")]
    assert all(each.float_us > 0 and each.int8_us > 0 for each in convs)
    assert "" not in times or times[""].float_us == 0
    assert found.sentence.startswith("int8 is ")
    found.save(tmp_path / "latency.json")
    assert Int8Latency.load(tmp_path / "latency.json") == found


@pytest.mark.parametrize(("int8_us", "verdict"), [(95.0, "the same"), (94.9, "faster"), (105.1, "slower")])
def test_a_small_difference_is_none(int8_us, verdict):
    assert LayerLatency(name="a", float_us=100.0, int8_us=int8_us).verdict == verdict
    assert LayerLatency(name="a", float_us=0.0, int8_us=int8_us).verdict == "only in int8"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.6, 0.8, "faster"), (0.9, 1.2, "as fast as float"), (1.1, 1.3, "slower")]
)
def test_a_whole_network_is_faster_only_outside_of_its_interval(low, high, verdict):
    ratio = (low + high) / 2
    layers = (LayerLatency(name="a", float_us=9.0, int8_us=3.0), LayerLatency(name="", float_us=0.0, int8_us=1.0))
    found = Int8Latency(
        settings=EngineSettings(engine="onnxruntime"), float_ms=2.0, int8_ms=2 * ratio, ratio=ratio, ratio_low=low,
        ratio_high=high, layers=layers,
    )  # fmt: skip
    assert found.sentence == (
        f"int8 is {verdict}: {2 * ratio:.3f} ms, float 2.000 ms (measured), {100 * ratio:.1f} % of it "
        f"(95 %: {100 * low:.1f} to {100 * high:.1f}); of 1 layers 1 faster, 0 slower, 0 the same, 0 only in int8."
    )
