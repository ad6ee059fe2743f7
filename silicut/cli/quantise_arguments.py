"""What `silicut quantise` can be asked: its options as they are typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option


@dataclass(frozen=True, kw_only=True)
class QuantiseArguments:
    """The options of `silicut quantise`, each with its help: what to quantise, to how many bits, and how."""

    network: Annotated[
        str,
        Option(help="Name in the zoo, your own as module:function, a file such as net.onnx, or a folder of silicut prune."),
    ]
    out: Annotated[Path, Option(help="New folder for the results.")]
    bits: Annotated[str | None, Option(help="Bits of weights / of what layers read, as 8/8 (the default) or 4/8.")] = None
    bits_file: Annotated[Path | None, Option(help="Instead: a plan by layer, as bits.json of another run.")] = None
    search: Annotated[
        str | None,
        Option(help="Instead: bits searched within a budget: bops:4/4 (as much as these bits), bops:25%, size:40%."),
    ] = None
    edge_bits: Annotated[
        int | None, Option(help="Bits of the first and the last layer, where a plan does not name them.")
    ] = None
    ranges: Annotated[str, Option(help="Ranges of activations: min-max, percentile, mse or kl.")] = "mse"
    scales: Annotated[str, Option(help="Scales of weights: max (nothing saturates) or mse.")] = "mse"
    rounding: Annotated[str, Option(help="Of weights: nearest, or adaptive (least error of each layer's output).")] = (
        "nearest"
    )
    equalise: Annotated[bool, Option("--equalise", help="Bring channels to equal ranges first.")] = False
    correct_biases: Annotated[
        bool, Option("--correct-biases", help="Let biases take back shifted means; adaptive rounding does so anyway.")
    ] = False
    calibration: Annotated[int, Option(help="Training images on which ranges are found.")] = 512
    train: Annotated[int, Option(min=0, help="Epochs of training while rounded, distilled from the float network.")] = 0
    learning_rate: Annotated[float | None, Option(help="Peak learning rate of that training; 0.01 by default.")] = None
    training_batch: Annotated[int, Option(help="Images of one step of that training.")] = 128
    checkpoints: Annotated[Path | None, Option(help="Folder where training keeps its state, and goes on from.")] = None
    normalisation: Annotated[
        str | None,
        Option(
            help="Folded in, so that the integer network takes images of 0..255: data (that of the data), or mean/std as "
            "0.485,0.456,0.406/0.229,0.224,0.225."
        ),
    ] = None
    qonnx: Annotated[bool, Option("--qonnx", help="Write a QONNX file as well, for FPGA tools.")] = False
    latency: Annotated[
        bool, Option("--latency/--no-latency", help="Measure float and int8 in ONNX Runtime, as wholes and by layer.")
    ] = True
    weights: Annotated[str | None, Option(help="File of weights, or 'random'; bundled ones by default.")] = None
    data: Annotated[str | None, Option(help="Data such as cifar10:DIR, digits, images:DIR, or module:function.")] = None
    metric: Annotated[str | None, Option(help="Your own metric as module:function.")] = None
    input_shape: Annotated[str | None, Option(help="One input, such as 3x224x224, for your own network.")] = None
    seed: Annotated[int, Option(min=0, help="Seed of the choice of calibration images.")] = 0
    json: Annotated[bool, Option("--json", help="Print the summary as JSON.")] = False
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False
