"""Other naming schemes of published weights: which names mean the same layer of the same architecture."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

_Rules = tuple[tuple[str, str], ...]  # regular expression and replacement, applied in order

_TORCHVISION_VIT: _Rules = (
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_(weight|bias)$", r".attn.qkv.\1"),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
)
_OLD_DENSENET: _Rules = ((r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),)
_KERAS_RESNET8: _Rules = (
    (r"^(\w+)/\1/", r"\1/"),  # layers stand twice in the names
    (r"^batch_normalization/", "bn1/"),
    *((rf"^batch_normalization_{2 * i + j}/", f"layer{i + 1}/bn{j}/") for i in range(3) for j in (1, 2)),
    (r"^conv2d/", "conv1/"),
    *((rf"^conv2d_{i}/", f"layer{place}/") for i, place in enumerate(
        ("1/conv1", "1/conv2", "2/conv1", "2/conv2", "2/downsample", "3/conv1", "3/conv2", "3/downsample"), 1
    )),
    (r"^dense/", "fc/"),
    *((f"{theirs}$", ours) for theirs, ours in (
        ("kernel:0", "weight"), ("gamma:0", "weight"), ("bias:0", "bias"), ("beta:0", "bias"),
        ("moving_mean:0", "running_mean"), ("moving_variance:0", "running_var"),
    )),
    ("/", "."),
)  # fmt: skip
_NAMINGS = {
    "its weights were named as torchvision names a vision transformer's": _TORCHVISION_VIT,
    "its weights were named and laid out as Keras does for MLPerf Tiny's ResNet-8": _KERAS_RESNET8,
    "its weights were named as torchvision's published DenseNet files name them": _OLD_DENSENET,
}
_AUXILIARY = ("aux1.", "aux2.")


def known_as(weights: Mapping[str, np.ndarray], wanted: Collection[str]) -> tuple[dict[str, np.ndarray], str]:
    """Return weights under the names a network has, and a note on what was done ("" for nothing).

    A naming is used only where all names then are those that are wanted, so that nothing is guessed; otherwise the weights
    come back as they are. Auxiliary classifiers, which serve training alone, are left out on the same terms.

    Args:
        weights: arrays by the names of their file.
        wanted: the network's state-dict names.

    Example:
        >>> known_as({"head.weight": np.ones(2), "heads.head.bias": np.ones(1)}, ["head.weight", "head.bias"])[0].keys()
        dict_keys(['head.weight', 'head.bias'])
    """
    if not _fits(weights, wanted):
        for note, rules in _NAMINGS.items():
            renamed = {_renamed(name, rules): _laid_out(name, array) for name, array in weights.items()}
            if len(renamed) == len(weights) and _fits(renamed, wanted):
                return renamed, note
        main = {name: array for name, array in weights.items() if not name.startswith(_AUXILIARY)}
        if _fits(main, wanted):
            return (
                main,
                f"{len(weights) - len(main)} weights of auxiliary classifiers were left out; they serve training alone",
            )
    return dict(weights), ""


def _fits(weights: Collection[str], wanted: Collection[str]) -> bool:
    """Whether all names are wanted and none is missing, batch norm's counters of batches aside."""
    missing = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    return not missing and all(name in wanted for name in weights)


def _laid_out(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array with its filters first; Keras, which calls weights kernels, has them last."""
    if not name.endswith("/kernel:0"):
        return array
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _renamed(name: str, rules: _Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
