"""Compiled networks: what the record says is what the compiler did, splits are what was asked, files come back whole."""

import dataclasses
import json

import numpy as np
import pytest
from integer_networks import gated, images, residual

import silicut
from silicut.accelerators.gemm.config import TINY, GemmConfig
from silicut.accelerators.gemm.program import Gemm, Queue
from silicut.accelerators.gemm.program.files import program_bytes
from silicut.flows.compile import integer_network, read_split, what_runs_where
from silicut.numerics import save_quantised
from silicut.numerics.onnx import to_qdq, to_qonnx
from silicut.records import BadFile, ConfigError, OutputExists, UnsupportedModel
from silicut.report.compilation import Compilation

ON_HOST = silicut.CompileOptions(allows_host=True)


def compiled(accelerator="tiny", **options):
    return silicut.compile_program(residual(), accelerator, silicut.CompileOptions(allows_host=True, **options))


def test_the_report_of_what_runs_where_names_reasons():
    rows = {row.operator: row for row in what_runs_where(residual())}
    assert list(rows) == [operator.name for operator in residual().network.operators]
    assert (rows["conv1"].where, rows["conv1.step"].layer) == ("cores", "conv1")
    assert (rows["max_pool"].where, rows["join"].where) == ("post", "layout")
    assert [name for name, row in rows.items() if row.where == "host"] == ["fc"]
    assert rows["fc"].reason == "its sums must be read by one requantiser alone and be no output"
    assert all(bool(row.reason) == (row.where == "host") for row in rows.values())


def test_what_would_stay_on_the_host_is_refused_with_reasons_unless_it_is_allowed():
    with pytest.raises(UnsupportedModel, match=r"fc \(linear\) stays on the host: its sums must be read"):
        silicut.compile_program(residual(), "tiny")
    assert [row.operator for row in compiled().record.on_host] == ["fc"]
    host = [row.operator for row in silicut.compile_program(gated(), "tiny", ON_HOST).record.on_host]
    assert host[0] == "product"
    assert "sigmoid" not in host


def test_the_record_tells_bits_split_and_products_of_each_layer():
    layers = {layer.name: layer for layer in compiled(split={"conv1": 8, "conv2": 0}).record.layers}
    network = residual().network
    for name, layer in layers.items():
        weight = network.parameters.get(f"{name}.weight")
        if weight is None:
            assert (layer.kind, layer.w_bits, layer.n_lut + layer.n_dsp, layer.n_macs) == ("vector", 0, 0, 0)
        else:
            assert layer.n_lut + layer.n_dsp == len(weight)
            operator = next(o for o in network.operators if o.name == name)
            height, width = network.tensors[operator.outputs[0]].shape[2:]
            assert layer.n_macs == weight.size * height * width
    assert (layers["conv1"].n_lut, layers["conv2"].n_lut) == (8, 0)
    assert layers["depthwise"].kind == "depthwise"
    assert layers["pointwise"].operators == ("pointwise", "pointwise.step", "add")


@pytest.mark.parametrize(("text", "queue"), [("lut", Queue.LUT_COMPUTE), ("dsp", Queue.DSP_COMPUTE)])
def test_all_filters_on_one_core(text, queue):
    found = compiled(split=read_split(text))
    other = Queue.DSP_COMPUTE if queue is Queue.LUT_COMPUTE else Queue.LUT_COMPUTE
    assert any(isinstance(each, Gemm) for each in found.program.of(queue))
    assert not any(isinstance(each, Gemm) for each in found.program.of(other))
    sums = silicut.compare(residual(), found, next(iter(images(residual(), 1).values())))
    assert sums.first is None


@pytest.mark.parametrize(("share", "n_filters", "n_lut"), [("0%", 64, 0), ("25%", 64, 16), ("30%", 64, 16), ("100%", 20, 20),
                                                           ("50%", 20, 8), ("99.5%", 20, 20)])  # fmt: skip
def test_shares_are_legal_numbers(share, n_filters, n_lut):
    shape = dataclasses.make_dataclass("Shape", ["n_filters"])(n_filters)
    assert read_split(share)(shape) == n_lut


def test_splits_that_cannot_be_are_refused(tmp_path):
    for text in ("half", "120%", "-1%", "%", "1/2", "25", "nan%"):
        with pytest.raises(ConfigError, match=r"split must be best, lut, dsp, a share of the LUT core such as 25%"):
            read_split(text)
    for content in ("[]", '{"conv1": -8}', '{"conv1": 1.5}', '{"conv1": true}'):
        (tmp_path / "split.json").write_text(content)
        with pytest.raises(BadFile, match="must hold an object of layers and their filters"):
            read_split(str(tmp_path / "split.json"))
    with pytest.raises(ConfigError, match=r"split must name layers with weights, such as conv1, not 'conv9', 'max_pool'"):
        compiled(split={"conv9": 8, "max_pool": 8})
    with pytest.raises(ConfigError, match="split of conv1 must be one of"):
        compiled(split={"conv1": 3})


def test_barriers_cost_time_and_change_no_number():
    with_them, without = compiled(has_barriers=True), compiled()
    assert with_them.record.has_barriers
    assert silicut.simulate(with_them).summary.cycles > silicut.simulate(without).summary.cycles
    assert silicut.compare(with_them, without, next(iter(images(residual(), 2).values()))).first is None


def test_a_folder_gives_everything_back_and_is_not_overwritten(tmp_path):
    made = compiled()
    folder = made.save(tmp_path / "program")
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "program.gemm", "compilation.json", "integer.json", "integer.safetensors", "quantisations.json"
    }  # fmt: skip
    back = silicut.load_compiled(folder)
    assert program_bytes(back.program) == program_bytes(made.program)
    assert back.record == made.record
    assert back.network.network.weights_hash == made.network.network.weights_hash
    with pytest.raises(OutputExists):
        made.save(folder)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    folder = compiled().save(tmp_path / "a")
    other = compiled(has_barriers=True).save(tmp_path / "b")
    (folder / "program.gemm").write_bytes((other / "program.gemm").read_bytes())
    with pytest.raises(BadFile, match=r"program.gemm is another program than compilation.json is about"):
        silicut.load_compiled(folder)
    with pytest.raises(BadFile, match=r"is no folder of silicut compile: it holds no program.gemm"):
        silicut.load_compiled(tmp_path)


def test_networks_come_from_folders_and_both_kinds_of_files(tmp_path):
    save_quantised(residual(), tmp_path / "integers")
    (tmp_path / "qdq.onnx").write_bytes(to_qdq(residual()).SerializeToString())
    (tmp_path / "qonnx.onnx").write_bytes(to_qonnx(residual()).SerializeToString())
    given = next(iter(images(residual(), 1).values()))
    wanted = silicut.simulate(compiled(), given).outputs
    for name in ("integers", "qdq.onnx", "qonnx.onnx"):
        found = silicut.simulate(silicut.compile_program(tmp_path / name, "tiny", ON_HOST), given).outputs
        for one, other in zip(wanted.values(), found.values(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_holds_no_integer_network_is_refused(tmp_path):
    (tmp_path / "net.pt").write_text("weights")
    for path, sentence in (
        (tmp_path, "is no folder of silicut quantise: it holds no integer.json; quantise the network first"),
        (tmp_path / "nowhere", "does not exist; check the path"),
        (tmp_path / "net.pt", "must be a folder of silicut quantise or a QDQ or QONNX file"),
    ):
        with pytest.raises(BadFile, match=sentence):
            integer_network(path)


def test_own_configurations_are_taken_by_value_and_by_file(tmp_path):
    own = dataclasses.replace(TINY, name="own", n_lanes=4)
    own.save(tmp_path / "own.json")
    by_file = silicut.compile_program(residual(), str(tmp_path / "own.json"), ON_HOST)
    by_value = silicut.compile_program(residual(), own, ON_HOST)
    assert program_bytes(by_file.program) == program_bytes(by_value.program)
    assert isinstance(by_file.program.config, GemmConfig)
    assert by_file.record.accelerator == "own"


def test_the_record_is_a_file_like_others(tmp_path):
    record = compiled().record
    assert Compilation.load(record.save(tmp_path / "record.json")) == record
    damaged = json.loads((tmp_path / "record.json").read_text()) | {"colour": "red"}
    (tmp_path / "record.json").write_text(json.dumps(damaged))
    with pytest.raises(BadFile, match="colour is unknown"):
        Compilation.load(tmp_path / "record.json")
