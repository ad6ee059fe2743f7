"""Where it is noted what an integer network has folded in, and what is no such note."""

import onnx
import pytest
from onnx import TensorProto, helper

from silicut.flows.pixels import note_normalisation, noted_normalisation
from silicut.numerics.onnx.steps import write_notes
from silicut.records import BadFile
from silicut.training import Normalisation

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture
def model():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_files_and_folders_say_what_was_noted(model, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    assert noted_normalisation(path) is noted_normalisation(tmp_path) is None
    note_normalisation(model, IMAGENET)
    onnx.save(model, path)
    IMAGENET.save(tmp_path / "normalisation.json")
    assert noted_normalisation(path) == noted_normalisation(tmp_path) == IMAGENET


@pytest.mark.parametrize("notes", [{"mean": "0.5"}, {"mean": "0.5", "std": "0"}, {"mean": "a", "std": "b"}])
def test_a_damaged_note_is_named(model, tmp_path, notes):
    write_notes(model, "silicut.normalisation", notes)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BadFile, match=r"must note mean and std as numbers in its metadata 'silicut.normalisation'"):
        noted_normalisation(tmp_path / "model.onnx")
