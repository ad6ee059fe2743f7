"""Device kits: written, run where neither silicut nor PyTorch can be imported, and merged back."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_networks as nets

onnx = pytest.importorskip("onnx")

from silicut.records import BadFile, Cache, ConfigError, OutputExists  # noqa: E402
from silicut.targets import engine  # noqa: E402
from silicut.targets.elsewhere import Device  # noqa: E402
from silicut.targets.kit import Unmeasured, Wanted, device_profile, merge, write_kit  # noqa: E402
from silicut.targets.profile import EVEN_FRACS, Profile, ProfileOptions, profile_network  # noqa: E402
from silicut.targets.samples import TURNS  # noqa: E402

QUICK = ProfileOptions(n_samples=6, n_samples_max=6, n_validation=2)
ALONE = """
import runpy, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("silicut", "torch", "onnx", "scipy"):
            raise ImportError(f"{name} is not on this device")

sys.meta_path.insert(0, Refusing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(folder, *options):
    """Run a kit in an interpreter that has numpy and the engine only; return the finished process."""
    command = [sys.executable, "-I", "-c", ALONE, str(folder / "run.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)


def visited(name, network, folder):
    """Profile a network by kits; return the profile, the device and the kits' folders."""
    cache, device, kits = Cache(folder / "cache"), Device(engine(name).settings), []
    while True:
        try:
            return device_profile(network, device, cache=cache, options=QUICK), device, kits
        except Unmeasured as left:
            kits.append(folder / f"kit{len(kits)}")
            write_kit(kits[-1], network, engine(name), left.networks)
            done = run_alone(kits[-1])
            assert done.returncode == 0, done.stderr
            device = merge(kits[-1] / "results.jsonl", network, cache)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def visit(request, tmp_path_factory):
    """A finished visit of one engine: its name, folder, profile, device and kits.

    Only ONNX Runtime's profile is compared with a local one, so the other engine takes few turns.
    """
    pytest.importorskip(request.param.partition("-")[0])
    folder = tmp_path_factory.mktemp("visit")
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "onnxruntime":
            patch.setattr("silicut.targets.kit.TURNS", replace(TURNS, min_turns=2, max_turns=2))
        return request.param, folder, *visited(request.param, nets.network(nets.Joined), folder)


# What is found


def test_two_rounds_give_the_profile_that_the_machine_itself_gives(visit):
    """The kits ran on this machine, so the device is this machine; times may differ by what moments differ."""
    name, folder, profile, device, kits = visit
    assert len(kits) == 2
    assert device.fingerprint() == engine(name).fingerprint()
    if name != "onnxruntime":
        return  # one is enough to compare, the others take as long
    local = profile_network(nets.network(nets.Joined), engine(name), cache=Cache(folder / "local"), options=QUICK)
    assert [v.name for v in profile.variables] == [v.name for v in local.variables]
    assert profile.dense_ms == pytest.approx(local.dense_ms, rel=0.3)
    rng = np.random.default_rng(0)
    for _ in range(10):
        shared = {v.name: sorted({*v.levels} & {*w.levels}) for v, w in zip(profile.variables, local.variables, strict=True)}
        widths = {variable: int(rng.choice(levels)) for variable, levels in shared.items()}
        pair = [(p.overhead_ms + sum(p.layer_ms(widths).values())) / p.dense_ms for p in (profile, local)]
        assert pair[0] == pytest.approx(pair[1], rel=0.2)


def test_a_profile_by_kits_is_complete_and_kept(visit):
    name, folder, profile, device, kits = visit
    assert len(profile.validation.measured_ms) == QUICK.n_validation
    assert profile.validation.isolated_ms == ()
    assert profile.settings == engine(name).settings
    assert device_profile(nets.network(nets.Joined), device, cache=Cache(folder / "cache"), options=QUICK) == profile
    assert Profile.load(profile.save(folder / "profile.json")) == profile
    networks = [json.loads((kit / "kit.json").read_text())["networks"] for kit in kits]
    assert len(networks[1]) <= QUICK.n_samples_max + QUICK.n_validation + len(EVEN_FRACS)
    assert profile.n_measured <= len(networks[0]) + len(networks[1])


def test_merging_again_changes_nothing(visit):
    _, folder, _, device, kits = visit
    (journal,) = (folder / "cache").glob("*.jsonl")
    before = journal.read_bytes()
    assert merge(kits[0] / "results.jsonl", nets.network(nets.Joined), Cache(folder / "cache")) == device
    assert journal.read_bytes() == before


@pytest.mark.needs_ort
def test_int8_models_are_made_here_and_run_there(tmp_path):
    pytest.importorskip("onnxruntime")
    network, int8 = nets.network(nets.Joined), engine("onnxruntime-int8")
    widths = {"left": 4, "right": 8, "both": 16}
    write_kit(tmp_path / "kit", network, int8, [Wanted(widths, 0.5)])
    nodes = onnx.load(tmp_path / "kit" / "models" / "0001.onnx", load_external_data=False).graph.node
    assert "QuantizeLinear" in {node.op_type for node in nodes}
    assert run_alone(tmp_path / "kit").returncode == 0
    device = merge(tmp_path / "kit" / "results.jsonl", network, Cache(tmp_path / "cache"))
    assert device.fingerprint() == int8.fingerprint()
    (event,) = map(json.loads, next((tmp_path / "cache").glob("*.jsonl")).read_text().splitlines())
    assert event["widths"] == widths
    assert 0 < event["layers_frac"]["both"] < event["ratio"]


# What a kit is


def test_models_hold_no_weights_and_no_two_constants_are_equal(visit):
    _, _, _, _, kits = visit
    for path in sorted((kits[1] / "models").glob("*.onnx"))[:4]:
        graph = onnx.load(path, load_external_data=False).graph
        large = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
        assert sum(t.ByteSize() for t in graph.initializer if t not in large) < 20_000
        assert large
        values = [onnx.numpy_helper.to_array(t).tobytes() for t in onnx.load(path).graph.initializer][: len(large)]
        assert len(set(values)) == len(values)


def test_a_kit_says_in_three_sentences_what_it_is(visit):
    name, _, _, _, kits = visit
    lines = (kits[0] / "README.txt").read_text().splitlines()
    assert len(lines) == 3
    assert f"measures networks with {name}" in lines[0]
    assert "python run.py" in lines[1]
    assert "silicut profile --network NETWORK --merge results.jsonl" in lines[2]


def test_a_stopped_run_goes_on_behind_the_last_network(visit):
    """The last line torn, the one before it lost."""
    _, _, _, _, kits = visit
    results = kits[1] / "results.jsonl"
    whole = results.read_bytes()
    lines = whole.splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:-2]) + lines[-1][:40])
    done = run_alone(kits[1])
    assert done.stderr.splitlines()[-2].startswith("2 of 2 networks measured")
    again = [json.loads(line) for line in results.read_bytes().splitlines() if line != lines[-1][:40]]
    assert [event.get("model") for event in again] == [json.loads(line).get("model") for line in lines]
    results.write_bytes(whole)


def test_results_of_other_threads_are_not_mixed(visit):
    _, _, _, _, kits = visit
    done = run_alone(kits[0], "--threads", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().endswith("was measured by another machine, engine or number of threads; move it away first")


# What is refused


@pytest.mark.needs_ort
def test_wrong_kits_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    network = nets.network(nets.Joined)
    with pytest.raises(OutputExists, match="exists and was not changed; choose a new folder"):
        write_kit(tmp_path, network, engine(), [])
    with pytest.raises(ConfigError, match="engine must be one of onnxruntime, onnxruntime-int8, openvino for a device kit"):
        write_kit(tmp_path / "kit", network, engine("pytorch"), [])
    assert not (tmp_path / "kit").exists()


def test_wrong_results_are_refused(visit, tmp_path):
    _, _, _, _, kits = visit
    network = nets.network(nets.Joined)
    with pytest.raises(BadFile, match=r"none does not exist; give the results\.jsonl of a kit"):
        merge(tmp_path / "none", network, Cache(tmp_path))
    with pytest.raises(BadFile, match=r"kit\.json holds no results of a device kit"):
        merge(kits[0] / "kit.json", network, Cache(tmp_path))
    with pytest.raises(BadFile, match=r"results\.jsonl was measured for another network; name that one"):
        merge(kits[0] / "results.jsonl", nets.network(nets.Chain), Cache(tmp_path))
    header, first, *_ = (kits[0] / "results.jsonl").read_text().splitlines()
    event = json.loads(first)
    del event["turns"][0]["nodes"]
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text(f"{header}\n{json.dumps(event)}\n")
    with pytest.raises(BadFile, match=r"damaged\.jsonl is damaged \(KeyError: 'nodes'\); take it from the device again"):
        merge(damaged, network, Cache(tmp_path))


@pytest.mark.needs_ort
def test_a_missing_engine_is_named_on_the_device(tmp_path):
    pytest.importorskip("onnxruntime")
    write_kit(tmp_path / "kit", nets.network(nets.Joined), engine(), [])
    program = ALONE.replace('"torch"', '"torch", "onnxruntime"')
    command = [sys.executable, "-I", "-c", program, str(tmp_path / "kit" / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "device kit: onnxruntime is not installed; install it with: pip install onnxruntime\n"


def test_what_a_device_runs_imports_nothing_else_of_silicut():
    folder = Path(sys.modules["silicut.targets.device"].__file__).parent
    lines = [line.strip() for path in folder.glob("*.py") for line in path.read_text().splitlines()]
    assert not [line for line in lines if line.startswith(("import silicut", "from silicut"))]
