"""Initial weights of the networks of this room."""

from __future__ import annotations

from torch import nn


def kaiming_(module: nn.Module) -> None:
    """Draw convolution weights from Kaiming's normal distribution in place (fan out, ReLU), from torch's generator.

    Batch norms and linear layers keep torch's initial values (scale 1, shift 0; uniform by fan in).
    Source: He et al., "Delving Deep into Rectifiers", 2015.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
