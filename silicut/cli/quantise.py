"""`silicut quantise`: a trained network to integers of 2..8 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from silicut.cli.arguments import command_of, noting, typed_command
from silicut.cli.console import notes_of_warnings, print_json, print_note, print_rich, progress_bars
from silicut.cli.quantise_arguments import QuantiseArguments
from silicut.records import ConfigError, ToolMissing, UnsupportedModel, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from silicut.cli.subject import Subject
    from silicut.compress.quantisation import BitPlan
    from silicut.compress.quantisation.bits import BitBudget
    from silicut.flows.quantise import Quantised, QuantiseOptions
    from silicut.report.layer_latency import Int8Latency
    from silicut.report.quantisation import QuantisationSummary
    from silicut.training import Normalisation, Recipe

OF_DATA = "data"


@command_of(QuantiseArguments)
def quantise(asked: QuantiseArguments) -> None:
    """Make an integer network of a trained one, with --train by more training, and count what that costs in accuracy."""
    bits, options = _checked(asked)
    from silicut.cli.subject import open_subject, own_metric
    from silicut.flows.label import Label
    from silicut.flows.quantise import QONNX, QONNX_FILE, SUMMARY_FILE, new_folder
    from silicut.flows.quantise import quantise as quantise_network
    from silicut.flows.quantise_summary import summary_of

    new_folder(asked.out)
    if asked.data is None:
        raise ConfigError("data must be given with --data: ranges are found on training images")
    subject = open_subject(asked.network, asked.weights, asked.data, asked.input_shape, 1)
    metric = own_metric(asked.metric, subject)
    if asked.normalisation == OF_DATA:
        options = replace(options, normalisation=_of_data(asked.data, subject))
    with progress_bars(asked.json) as progress:
        result = quantise_network(
            subject.module,
            subject.inputs,
            bits,
            data=subject.data,
            metric=metric,
            options=options,
            progress=progress,
        )
    label = Label(asked.network, typed_command())
    with notes_of_warnings():
        result.save(asked.out, label)
    if asked.qonnx:
        write_atomically(asked.out / QONNX_FILE, result.onnx_file(QONNX))
    summary = summary_of(result, label, _latency(result) if asked.latency else None)
    summary.save(asked.out / SUMMARY_FILE)
    page = _page(summary, asked.out)
    if asked.json:
        print_json(summary.to_json())
        return
    from silicut.report.quantisation import quantisation_view

    print_rich(quantisation_view(summary), f"results: {asked.out}   page: {page}")


def _of_data(name: str, subject: Subject) -> Normalisation:
    """Return what the images of data were normalised by.

    Raises:
        ConfigError: the data do not say.
    """
    known: Normalisation | None = getattr(subject.data, "normalisation", None)
    if known is None:
        raise ConfigError(
            f"normalisation must be given as mean/std: data {name!r} do not say how their images were normalised"
        )
    return known


def _latency(result: Quantised) -> Int8Latency | None:
    """Measure the networks of a result; where that cannot be done, a note says why."""
    from silicut.flows.int8_latency import int8_latency

    try:
        takes_pixels = result.options.normalisation is not None
        return int8_latency(result.calibrated.sites.network, result.network, takes_pixels=takes_pixels)
    except (ToolMissing, UnsupportedModel) as error:
        print_note(f"latency was not measured: {error}")
        return None


def _page(summary: QuantisationSummary, folder: Path) -> str:
    """Write the report; return the page's path, or why there is none."""
    from silicut.flows.quantise_summary import write_page

    try:
        return str(write_page(summary, folder))
    except ToolMissing as error:
        return f"none, {error}"


def _checked(asked: QuantiseArguments) -> tuple[BitPlan | BitBudget, QuantiseOptions]:
    """Return what was asked besides the network.

    Raises:
        ConfigError: every wrong option.
    """
    from silicut.compress.quantisation import BitPlan
    from silicut.flows.quantise import Methods, QuantiseOptions

    problems: list[str] = []
    bits: BitPlan | BitBudget = BitPlan.uniform(8, 8)
    methods, options = Methods(), QuantiseOptions()
    with noting(problems):
        bits = _bits(asked)
    with noting(problems):
        methods = Methods(
            ranges=asked.ranges,
            scales=asked.scales,
            rounding=asked.rounding,
            equalises=asked.equalise,
            corrects_biases=asked.correct_biases,
        )
    with noting(problems):
        options = QuantiseOptions(
            methods=methods,
            n_calibration=asked.calibration,
            edge_bits=asked.edge_bits,
            seed=asked.seed,
            training=_recipe(asked),
            training_folder=asked.checkpoints,
            normalisation=_stated_normalisation(asked.normalisation),
        )
    if problems:
        raise ConfigError(*problems)
    return bits, options


def _stated_normalisation(text: str | None) -> Normalisation | None:
    from silicut.training import Normalisation

    return None if text in (None, OF_DATA) else Normalisation.parse(text)


def _recipe(asked: QuantiseArguments) -> Recipe | None:
    from silicut.compress.quantisation.aware_training import QAT

    if not asked.train:
        if asked.learning_rate is not None:
            raise ConfigError("learning-rate must be given with --train only, the epochs of training")
        return None
    return replace(
        QAT,
        epochs=asked.train,
        batch_size=asked.training_batch,
        learning_rate=QAT.learning_rate if asked.learning_rate is None else asked.learning_rate,
        seed=asked.seed,
        warmup_epochs=min(QAT.warmup_epochs, asked.train / 4),
    )


def _bits(asked: QuantiseArguments) -> BitPlan | BitBudget:
    from silicut.compress.quantisation import BitPlan
    from silicut.compress.quantisation.bits import BitBudget

    if sum(given is not None for given in (asked.bits, asked.bits_file, asked.search)) > 1:
        raise ConfigError("what is asked must be one of --bits, --bits-file and --search, not several")
    if asked.search is not None:
        return BitBudget.parse(asked.search)
    return BitPlan.parse(asked.bits or "8/8") if asked.bits_file is None else BitPlan.load(asked.bits_file)
