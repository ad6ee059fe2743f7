"""Quantise a trained network to integers, after training or with more of it, and count what that costs.

capture -> fold -> calibrate -> (train while rounded ->) lower -> count right images, in float and in integers, image by
image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from silicut.compress.quantisation import BitPlan, find_sites, quantisable
from silicut.compress.quantisation.aware_training import trained_while_rounded
from silicut.compress.quantisation.bit_search import BitSearch
from silicut.compress.quantisation.bits import MAX_BITS, MIN_BITS, BitBudget
from silicut.compress.quantisation.equalisation import equalise
from silicut.compress.quantisation.noise import signal_to_noise_db
from silicut.compress.quantisation.on_pixels import check_takes_pixels, on_pixels
from silicut.compress.quantisation.post_training import Calibrated, Methods, quantise_after_training, with_edges
from silicut.flows.as_module import as_module, as_training_data
from silicut.flows.bit_search import measured_sensitivity, searched_bits
from silicut.flows.label import Label
from silicut.flows.new_folder import new_folder
from silicut.flows.pixels import NORMALISATION_FILE, OnNormalised, note_normalisation
from silicut.flows.quantise_summary import summary_of
from silicut.flows.stages import Judge, Stage, Stages
from silicut.graph import Network, capture
from silicut.numerics import QuantisedModule, QuantisedNetwork, save_quantised
from silicut.numerics.onnx import to_qdq, to_qonnx
from silicut.records import ConfigError, Progress, UnsupportedModel, silent, write_atomically
from silicut.records.progress import Tracker
from silicut.training import Batches, Metric, Normalisation, Recipe, TrainingData

__all__ = ["Methods", "QuantiseOptions", "Quantised", "new_folder", "quantise"]

FLOAT, UNTRAINED, INTEGER = "float", "untrained", "integer"
BITS_FILE, SEARCH_FILE, SUMMARY_FILE = "bits.json", "search.json", "summary.json"
MODEL_FILE, QONNX_FILE = "model.onnx", "model.qonnx.onnx"
QDQ, QONNX = "qdq", "qonnx"
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class QuantiseOptions:
    """What to ask of a quantisation besides network, bits and data.

    Attributes:
        methods: how numbers become integers.
        n_calibration: training images on which ranges are found.
        edge_bits: of weights and inputs of the first and the last layer where the bits do not name them; None for those of
            the other layers.
        seed: of the choice of calibration images.
        training: how the network is trained while it is rounded; None for not at all. It starts from the ranges found and
            from the weights as they came.
        training_folder: where training keeps its state after each epoch, to go on from there; None for nowhere.
        normalisation: what the images that the float network takes were normalised by; the integer network then takes
            images of 0..255 and normalises them itself. None where it takes what the float network takes.

    Raises:
        ConfigError: everything that is wrong, at construction.
    """

    methods: Methods = field(default_factory=Methods)
    n_calibration: int = 512
    edge_bits: int | None = None
    seed: int = 0
    training: Recipe | None = None
    training_folder: str | Path | None = None
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        problems = []
        if not self.n_calibration >= 1:
            problems.append(f"n_calibration must be 1 or more, not {self.n_calibration}")
        if self.edge_bits is not None and not MIN_BITS <= self.edge_bits <= MAX_BITS:
            problems.append(f"edge_bits must be {MIN_BITS}..{MAX_BITS}, not {self.edge_bits}")
        if self.seed < 0:
            problems.append(f"seed must be 0 or more, not {self.seed}")
        if self.training is not None and self.methods.changes_weights:
            problems.append(
                "methods must leave weights to training: rounding nearest, nothing equalised, no biases corrected"
            )
        if self.training is None and self.training_folder is not None:
            problems.append("training_folder must be given with training only")
        if problems:
            raise ConfigError(*problems)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantised:
    """The result of a quantisation.

    Attributes:
        network: the integer network, and what its integers stand for; with a normalisation it takes pixels.
        plan: the widths.
        search: how they were found within a budget, or None.
        calibrated: where the float network is rounded, and to what.
        stages: quality in float and in integers; empty without data.
        noise_db: signal-to-noise ratio of every rounded tensor, by its name in the float network.
        n_calibration: images on which ranges were found.
        options: what was asked.
        dense: the float network as it came.
    """

    network: QuantisedNetwork
    plan: BitPlan
    search: BitSearch | None
    calibrated: Calibrated
    stages: tuple[Stage, ...]
    noise_db: dict[str, float]
    n_calibration: int
    options: QuantiseOptions
    dense: Network

    @cached_property
    def module(self) -> nn.Module:
        """The integer network as a module that maps real numbers to real numbers; with a normalisation it takes pixels."""
        return QuantisedModule(self.network).eval()

    def save(self, folder: str | Path, label: Label | None = None) -> Path:
        """Write the integer network, bits.json, summary.json and model.onnx (QDQ) into a new or empty folder.

        After a search, search.json is the solver's solution; normalisation.json is what was folded in. A network that no QDQ
        file can express is saved without one, with a warning that says why.

        Args:
            folder: made when needed.
            label: what a person calls the run, for the summary.

        Returns:
            The folder's path.

        Raises:
            OutputExists: the folder holds something.
        """
        folder = new_folder(folder)
        save_quantised(self.network, folder)
        self.plan.save(folder / BITS_FILE)
        if self.search is not None:
            self.search.solution.save(folder / SEARCH_FILE)
        if self.options.normalisation is not None:
            self.options.normalisation.save(folder / NORMALISATION_FILE)
        summary_of(self, label or Label("", "")).save(folder / SUMMARY_FILE)
        try:
            write_atomically(folder / MODEL_FILE, self.onnx_file())
        except UnsupportedModel as error:
            warnings.warn(f"{MODEL_FILE} was not written: {error}", stacklevel=2)
        return folder

    def onnx_file(self, kind: str = QDQ) -> bytes:
        """Return the integer network as an ONNX file.

        Args:
            kind: "qdq", which runtimes execute (its input is uint8 where it is pixels, else float), or "qonnx", which FPGA
                tools read.

        Raises:
            UnsupportedModel: operators have no equal in such a file; all are listed.
            ConfigError: there is no such kind.
        """
        if kind not in (QDQ, QONNX):
            raise ConfigError(f"kind must be {QDQ} or {QONNX}, not {kind!r}")
        takes_pixels = self.options.normalisation is not None
        model = to_qdq(self.network, integer_inputs=takes_pixels) if kind == QDQ else to_qonnx(self.network)
        if self.options.normalisation is not None:
            note_normalisation(model, self.options.normalisation)
        return bytes(model.SerializeToString())


def quantise(  # noqa: PLR0913
    model: nn.Module | Network | str | Path,
    inputs: Tensor | Sequence[Tensor],
    bits: str | BitPlan | BitBudget = "8/8",
    *,
    data: TrainingData | tuple[Batches, Batches] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    metric: Metric | None = None,
    options: QuantiseOptions | None = None,
    is_judged: bool = True,
    progress: Progress = silent,
) -> Quantised:
    """Make an integer network of a trained one: every number an integer of 2..8 bits, every step exact.

    Args:
        model: the trained network, which is not changed: a module (a pruned one, for instance), a `Network`, or the path of
            an ONNX file.
        inputs: one example tensor, batch first. Without data ranges are found on it, so it should be some hundred images.
        bits: "4/8" for weights of 4 bits on tensors of 8, a plan by layer, or a budget within which bits are searched.
        data: to find ranges on (training images) and to count on (evaluation images), such as (training loader, evaluation
            loader) of (images, labels).
        evaluate: the user's own quality of a module; by default accuracy on the data.
        metric: which outputs count as right; top-1 by default.
        options: everything else.
        is_judged: whether the stages are counted; False leaves that to the caller.
        progress: told every step.

    Raises:
        UnsupportedModel: the network cannot be captured, or operators have no integer form; all of them are listed.
        ConfigError: bits or options do not fit the network.
        AccumulatorTooNarrow: the sums of a layer could overflow 32 bits.
        DoesNotFit: no bits are within the budget.
    """
    options, module = options or QuantiseOptions(), as_module(model, inputs)
    training_data = as_training_data(data)
    dense = capture(module, inputs)
    network = of_one_input(quantisable(dense))
    if options.normalisation is not None:
        check_takes_pixels(network, options.normalisation)
    images = _calibration_images(training_data, inputs, options)
    plan, search = _plan(bits, network, images, options, progress)
    calibrated = quantise_after_training(network, plan, images, options.methods, progress)
    untrained = calibrated.quantised if options.training else None
    if options.training:
        calibrated = _trained(dense, plan, calibrated, training_data, options, progress)
    judge, normalisation, integer = Judge(training_data, evaluate, metric), options.normalisation, calibrated.quantised
    if normalisation is not None:
        integer = on_pixels(integer, normalisation)
    unseen = images[0] if training_data is None else next(training_data.evaluation_batches(_BATCH))[0]
    return Quantised(
        network=integer,
        plan=plan,
        search=search,
        calibrated=calibrated,
        stages=_stages(judge, module, untrained, integer, normalisation, progress) if is_judged else (),
        noise_db=signal_to_noise_db(calibrated.sites, calibrated.quantised, unseen),
        n_calibration=sum(map(len, images)),
        options=options,
        dense=dense,
    )


def _trained(
    dense: Network,
    plan: BitPlan,
    start: Calibrated,
    data: TrainingData | None,
    options: QuantiseOptions,
    progress: Progress,
) -> Calibrated:
    """Return what training makes of a network that was calibrated."""
    if data is None:
        raise ConfigError("data must be given where the network is trained: labelled images to train on")
    assert options.training is not None
    folder = options.training_folder
    module = trained_while_rounded(dense, plan, start.activations, data, options.training, folder=folder, progress=progress)
    sites = replace(module.sites, network=module.float_network())
    return replace(start, sites=sites, activations=module.activations(), quantised=module.quantised())


def of_one_input(network: Network) -> Network:
    """Return a network that has one input for any number of images.

    Raises:
        ConfigError: it has not.
    """
    shapes = [network.tensors[name].shape for name in network.inputs]
    if len(shapes) != 1:
        raise ConfigError(f"the network must have one input to be quantised, not {len(shapes)}")
    if shapes[0][0] != -1:
        raise ConfigError(f"the network must take any number of images, not {shapes[0][0]} at once; leave its batch free")
    return network


def _plan(
    bits: str | BitPlan | BitBudget, network: Network, images: Sequence[Tensor], options: QuantiseOptions, progress: Progress
) -> tuple[BitPlan, BitSearch | None]:
    """Return the widths, and how they were found where they were searched."""
    sites = find_sites(network)
    if not sites.layers:
        raise ConfigError("the network must have a convolution or a linear layer to be quantised, not none")
    if isinstance(bits, BitBudget):
        sites = find_sites(equalise(network).network) if options.methods.equalises else sites
        sensitivity = measured_sensitivity(sites, images, options.methods, progress)
        found = searched_bits(sites, sensitivity, bits, options.edge_bits)
        return found.plan, found
    plan = BitPlan.parse(bits) if isinstance(bits, str) else bits
    plan.check(sites.layers)
    return (plan if options.edge_bits is None else with_edges(plan, sites, options.edge_bits)), None


def _calibration_images(
    data: TrainingData | None, inputs: Tensor | Sequence[Tensor], options: QuantiseOptions
) -> list[Tensor]:
    if data is None:
        given = inputs if isinstance(inputs, Tensor) else inputs[0]
        return [given[start : start + _BATCH] for start in range(0, len(given), _BATCH)]
    return list(_first(data.training_batches(0, _BATCH, options.seed), options.n_calibration))


def _first(batches: Iterator[tuple[Tensor, Tensor]], n: int) -> Iterator[Tensor]:
    """Yield batches of n images in all, or of as many as there are."""
    for x, _ in batches:
        yield x[:n]
        n -= len(x)
        if n <= 0:
            return


def _stages(
    judge: Judge,
    module: nn.Module,
    untrained: QuantisedNetwork | None,
    integer: QuantisedNetwork,
    normalisation: Normalisation | None,
    progress: Progress,
) -> tuple[Stage, ...]:
    if not judge.is_able:
        return ()
    judged = {FLOAT: module} | ({} if untrained is None else {UNTRAINED: QuantisedModule(untrained)})
    exact = QuantisedModule(integer)
    judged[INTEGER] = exact if normalisation is None else OnNormalised(exact, normalisation)
    stages, tracker = Stages(first=FLOAT), Tracker(progress, "evaluate", len(judged))
    for name, each in judged.items():
        stages.add(name, judge.quality(each))
        tracker.step(f"{name}: {stages.stages[-1].score:.2%}" if judge.own is None else "")
    return tuple(stages.stages)
