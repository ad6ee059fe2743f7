"""What becomes of trained networks as integer ones?

    python bench/quantisation/run.py --data DIR --weights DIR [--only QUESTION ...] [--networks NAME ...] [--quick]

Questions, in this order:

    exact     PyTorch's evaluation of integer networks (IntegerModule) against the integer reference, number by number of
              every tensor: 1,000 images on trained networks, and 300 random small ones at random widths
    exchange  ONNX files of Q/DQ pairs in ONNX Runtime against the integer network, round trips of QDQ and QONNX
    ptq       right images by method and width after training
    mixed     right images of ResNet-20 at searched widths against uniform ones at equal bit operations
    latency   float, int8, pruned and pruned int8 networks side by side in ONNX Runtime, with the right images of each
    qat       ResNet-20 trained while it is rounded to 4/4 and 3/3 bits, 8 epochs, first and last layer at 8 bits

Every row reaches its CSV file in results/ when it is known, and rows that are there are not made again: the study can be
stopped and resumed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import exact
import exchange
import latency
import ptq
import qat
import torch
from subjects import NETWORKS, Study

QUESTIONS: dict[str, Callable[[Study], None]] = {
    "exact": exact.answer,
    "exchange": exchange.answer,
    "ptq": ptq.answer,
    "mixed": ptq.answer_mixed,
    "latency": latency.answer,
    "qat": qat.answer,
}
"""Each question and what answers it: a function `answer(study)` of a module in this folder."""


def main() -> None:
    """Answer the questions asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of cifar-10-batches-bin and MNIST")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the published weights (.th, .npz)")
    parser.add_argument("--work", type=Path, default=Path("runs/quantisation"), help="folder for what is trained")
    parser.add_argument("--pruning", type=Path, help="folder of work of bench/pruning, for the question latency")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="few images, few networks; results stay in --work")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    study = Study(
        data=arguments.data,
        weights=arguments.weights,
        work=arguments.work,
        networks=tuple(arguments.networks),
        is_quick=arguments.quick,
        pruning=arguments.pruning,
    )
    for question in arguments.only:
        QUESTIONS[question](study)


if __name__ == "__main__":
    main()
