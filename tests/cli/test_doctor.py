import json
from importlib import metadata

from silicut.cli.app import run
from silicut.targets import ENGINES, machine_fingerprint


def test_parts_and_machine_are_listed(capsys):
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert metadata.version("torch") in out
    assert machine_fingerprint()["cpu"] in out


def test_every_engine_is_listed_with_what_brings_it(capsys):
    assert run(["doctor", "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    for name, part in {"onnxruntime": "onnxruntime", "openvino": "openvino", "pytorch": "torch"}.items():
        (found,) = [p for p in parts if p["name"] == part]
        assert name in found["gives"]
    gives = " ".join(part["gives"] for part in parts).replace(":", " ")
    assert set(ENGINES) <= set(gives.split())


def test_a_missing_part_is_named_with_the_way_to_get_it(monkeypatch, capsys):
    installed = metadata.version

    def version(name):
        if name == "jinja2":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    assert run(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "jinja2" in line]
    assert line.split() == ["jinja2", "missing", "report.html", "pip", "install", "'silicut[report]'"]


def test_the_same_as_json(capsys):
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["torch"]["version"] == metadata.version("torch")
    assert parts["matplotlib"]["install"] == "pip install 'silicut[report]'"
    assert found["machine"] == machine_fingerprint()
