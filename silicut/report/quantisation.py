"""The record of one quantisation, and the same for a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from silicut.records import Record
from silicut.report import wording
from silicut.report.layer_latency import OTHER_LAYER, Int8Latency
from silicut.report.part import Part
from silicut.report.summary import Stage

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

FLOAT_BITS = 32


@dataclass(frozen=True, kw_only=True)
class QuantisedLayer(Part):
    """One convolution or linear layer.

    Attributes:
        name: of the layer.
        kind: "conv2d" or "linear".
        n_weights: without biases.
        weight_bits: of the widest filter.
        n_weight_bits: of all weights together.
        activation_bits: of what it reads.
        low, high: the numbers that the integers it reads reach.
        read_low, read_high: the numbers that it reads on the calibration images.
        counts: how often they occurred, in bins of equal width between these.
        noise_db: signal-to-noise ratio of its rounded result, with all that was lost before; None where nothing is lost.
    """

    name: str
    kind: str
    n_weights: int
    weight_bits: int
    n_weight_bits: int
    activation_bits: int
    low: float
    high: float
    read_low: float
    read_high: float
    counts: tuple[int, ...]
    noise_db: float | None


@dataclass(frozen=True, kw_only=True)
class QuantisationSummary(Record):
    """Everything one quantisation found out.

    Attributes:
        network: its name.
        command: text that repeats the run.
        created: date and time, ISO 8601.
        versions: of packages, by name.
        hashes: of inputs and outputs, by what they are of.
        methods: how numbers became integers, by name.
        n_calibration: images on which ranges were found.
        stages: accuracy in float and in integers; empty without data.
        layers: in order of execution.
        output_noise_db: signal-to-noise ratio of the network's outputs; None where nothing is lost.
        latency: of the network and each layer in float and in integers; None where it was not measured.
    """

    schema: ClassVar[str] = "quantisation_summary/1"
    network: str
    command: str
    created: str
    versions: dict[str, str]
    hashes: dict[str, str]
    methods: dict[str, str]
    n_calibration: int
    stages: tuple[Stage, ...]
    layers: tuple[QuantisedLayer, ...]
    output_noise_db: float | None
    latency: Int8Latency | None = None

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights of layers, packed; biases left out."""
        return sum(layer.n_weight_bits for layer in self.layers) / 8

    @property
    def float_weight_bytes(self) -> float:
        """Bytes of the same weights in float32."""
        return sum(layer.n_weights for layer in self.layers) * FLOAT_BITS / 8


def quantisation_view(summary: QuantisationSummary) -> Group:
    """Return headline, accuracy by stage and the table of layers."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | Table] = [Text(headline(summary), style="bold"), Text(accuracy_text(summary))]
    if summary.stages:
        from silicut.report.terminal import accuracy_table

        parts.append(accuracy_table(summary.stages))
    parts.append(_layer_table(summary))
    if summary.latency is not None:
        parts += [Text(summary.latency.sentence), _latency_table(summary.latency)]
    noise = summary.output_noise_db
    if noise is not None:
        parts.append(Text(f"outputs: {noise:.1f} dB of signal over quantisation noise"))
    return Group(*parts)


def headline(summary: QuantisationSummary) -> str:
    """Return what became of the network's weights in one sentence."""
    before, after = (wording.count_text(n, "B") for n in (summary.float_weight_bytes, summary.weight_bytes))
    return f"{summary.network} in integers: weights of {before} became {after}."


def accuracy_text(summary: QuantisationSummary) -> str:
    """Return what became of its accuracy in one sentence; a difference inside its interval is no difference."""
    loss = wording.accuracy_loss(summary.stages)
    return "Accuracy was not counted." if loss is None else wording.accuracy_sentence(loss)


def weight_bits_text(layer: QuantisedLayer) -> str:
    """Return the bits of a layer's weights, their mean where filters differ."""
    mean = layer.n_weight_bits / layer.n_weights
    return str(layer.weight_bits) if mean == layer.weight_bits else f"{mean:.2f}"


def _layer_table(summary: QuantisationSummary) -> Table:
    from silicut.report.terminal import add_row, headed_table

    table = headed_table("layer", "weights", "bits of weights", "of what it reads", "which reaches", "signal over noise")
    for layer in summary.layers:
        noise = "" if layer.noise_db is None else f"{layer.noise_db:.1f} dB"
        reach = f"{layer.low:.3g} to {layer.high:.3g}"
        add_row(table, layer.name, f"{layer.n_weights:,}", weight_bits_text(layer), str(layer.activation_bits), reach, noise)
    return table


def _latency_table(latency: Int8Latency) -> Table:
    from silicut.report.terminal import add_row, headed_table

    table = headed_table("layer", "float (measured)", "int8 (measured)", "int8 is")
    for layer in latency.layers:
        times = [f"{each:.1f} us" if each else "" for each in (layer.float_us, layer.int8_us)]
        add_row(table, layer.name or OTHER_LAYER, *times, layer.verdict)
    return table
