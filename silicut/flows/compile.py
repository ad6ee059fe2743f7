"""Compile an integer network for the GEMM accelerator: what runs where, the program, and all that a run of it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from silicut.accelerators.gemm.compile import CompileOptions, compile_network, partition
from silicut.accelerators.gemm.compile.planning import ProductShape
from silicut.accelerators.gemm.compile.split import Split
from silicut.accelerators.gemm.compile.views import CHANNEL_GROUP
from silicut.accelerators.gemm.config import GemmConfig
from silicut.flows.compilation_summary import assigned, record_of
from silicut.flows.compiled import CompiledNetwork
from silicut.flows.estimate import accelerator as configured
from silicut.flows.label import Label
from silicut.flows.pixels import noted_normalisation
from silicut.flows.quantise import SUMMARY_FILE, Quantised
from silicut.numerics import QuantisedNetwork, load_quantised
from silicut.numerics.onnx import from_qdq, from_qonnx, is_qonnx
from silicut.numerics.quantised_files import STRUCTURE_FILE
from silicut.records import BadFile, ConfigError, Progress, Tracker, read_json, silent
from silicut.report.compilation import AssignedOperator
from silicut.report.quantisation import QuantisationSummary
from silicut.training import Normalisation

__all__ = ["CompileOptions", "compile_program"]

SPLITS = {"best": None, "lut": 1.0, "dsp": 0.0}
"""What a split is called, and the share of filters that the LUT core gets; None for the number that is fastest."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedNetwork:
    """An integer network with what is known of it.

    Attributes:
        network: what is compiled.
        name: what a person calls it.
        normalisation: what it has folded in, None where it takes what the float network takes.
    """

    network: QuantisedNetwork
    name: str = "network"
    normalisation: Normalisation | None = None


def compile_program(
    network: OpenedNetwork | QuantisedNetwork | Quantised | str | Path,
    accelerator: str | GemmConfig = "n3h",
    options: CompileOptions | None = None,
    *,
    label: Label | None = None,
    progress: Progress = silent,
) -> CompiledNetwork:
    """Compile an integer network for a build of the GEMM accelerator.

    Args:
        network: what `opened` gave, an integer network, the result of `quantise`, its folder, or the path of a QDQ or
            QONNX file.
        accelerator: the name of a preset, the path of a configuration's JSON file, or a configuration.
        options: split of filters, barriers, whether operators may stay on the host.
        label: what a person calls it.
        progress: told every step.

    Raises:
        UnsupportedModel: an operator would have to stay on the host; each is named with its reason.
        DoesNotFit: a buffer is too small for a layer.
        ConfigError: a split is illegal or names layers that the network lacks.
        BadFile: a file is missing or damaged.
    """
    options = options or CompileOptions()
    found = network if isinstance(network, OpenedNetwork) else opened(network)
    quantised = found.network
    config = accelerator if isinstance(accelerator, GemmConfig) else configured(accelerator)
    _check_split(options.split, quantised)
    tracker = Tracker(progress, "compile", 1)
    compiled = compile_network(quantised.network, config, options)
    tracker.step(f"{compiled.program.n_instructions:,} instructions")
    return CompiledNetwork(
        normalisation=found.normalisation,
        program=compiled.program,
        record=record_of(compiled, quantised, label or Label(found.name, ""), has_barriers=options.has_barriers),
        network=quantised,
    )


def opened(network: QuantisedNetwork | Quantised | str | Path) -> OpenedNetwork:
    """Return an integer network with its name and normalisation from what holds one, as `integer_network` takes it.

    Raises:
        BadFile: there is no such file or folder, it holds no integer network, or what is noted beside it is damaged.
        UnsupportedModel: a file's operators have no integer form.
    """
    found = integer_network(network)
    if isinstance(network, str | Path):
        return OpenedNetwork(network=found, name=name_of(network), normalisation=noted_normalisation(network))
    normalisation = network.options.normalisation if isinstance(network, Quantised) else None
    return OpenedNetwork(network=found, normalisation=normalisation)


def integer_network(network: QuantisedNetwork | Quantised | str | Path) -> QuantisedNetwork:
    """Return an integer network from what holds one.

    Args:
        network: itself, the result of `quantise`, a folder of `silicut quantise`, or the path of a QDQ or QONNX file.

    Raises:
        BadFile: there is no such file or folder, or it holds no integer network.
        UnsupportedModel: a file's operators have no integer form.
    """
    if isinstance(network, QuantisedNetwork):
        return network
    if isinstance(network, Quantised):
        return network.network
    path = Path(network)
    if path.is_dir():
        if not (path / STRUCTURE_FILE).exists():
            raise BadFile(
                f"{path} is no folder of silicut quantise: it holds no {STRUCTURE_FILE}; quantise the network first"
            )
        return load_quantised(path)
    if not path.exists():
        raise BadFile(f"{path} does not exist; check the path")
    if path.suffix != ".onnx":
        raise BadFile(
            f"{path} must be a folder of silicut quantise or a QDQ or QONNX file (.onnx), not a {path.suffix} file"
        )
    return from_qonnx(path) if is_qonnx(path) else from_qdq(path)


def name_of(path: str | Path) -> str:
    """Return what a person calls the network of a folder or file: the name that it was quantised by, else the path.

    Raises:
        BadFile: the folder's summary is damaged.
    """
    summary = Path(path) / SUMMARY_FILE
    return (QuantisationSummary.load(summary).network if summary.is_file() else "") or str(path)


def read_split(text: str) -> Split:
    """Return which filters of a layer go to the LUT core.

    Args:
        text: "best", "lut" (all), "dsp" (none), a share such as "25%", or the path of a JSON file of numbers by layer.

    Raises:
        ConfigError: it is none of these.
        BadFile: the file is missing or holds something else.
    """
    if text in SPLITS:
        return _shared(SPLITS[text])
    if text.endswith(".json"):
        return _split_of_file(Path(text))
    share = text.removesuffix("%")
    if not text.endswith("%") or not share.replace(".", "", 1).isdecimal() or not 0 <= float(share) <= 100:
        raise ConfigError(
            f"split must be best, lut, dsp, a share of the LUT core such as 25%, or a .json file, not {text!r}"
        )
    return _shared(float(share) / 100)


def _shared(share: float | None) -> Callable[[ProductShape], int] | None:
    if share is None:
        return None

    def split(shape: ProductShape) -> int:
        """Return the legal number of filters next to the share."""
        legal: list[int] = [*range(0, shape.n_filters, CHANNEL_GROUP), shape.n_filters]
        return min(legal, key=lambda n: abs(n - share * shape.n_filters))

    return split


def _split_of_file(path: Path) -> dict[str, int]:
    found = read_json(path)
    if not isinstance(found, dict) or not all(type(n) is int and n >= 0 for n in found.values()):
        raise BadFile(f"{path} must hold an object of layers and their filters of the LUT core, such as {{'conv1': 16}}")
    return found


def _check_split(split: Split, quantised: QuantisedNetwork) -> None:
    """Refuse numbers for layers that the network lacks."""
    if split is None or callable(split):
        return
    products = [layer.name for layer in partition(quantised.network).layers if layer.is_product]
    if strange := [name for name in split if name not in products]:
        known = products[0] if products else "none"
        raise ConfigError(f"split must name layers with weights, such as {known}, not {', '.join(map(repr, strange))}")


def what_runs_where(quantised: QuantisedNetwork) -> tuple[AssignedOperator, ...]:
    """Return what executes each operator, in the network's order; nothing is compiled."""
    return assigned(partition(quantised.network))
