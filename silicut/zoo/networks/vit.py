"""Vision transformers (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; sizes Ti and S: Touvron et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_HEAD_WIDTH = 64
_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention in heads of 64 channels; queries, keys and values come from one packed linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self._n_heads = width // _HEAD_WIDTH

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (n, t, width) to (n, t, width)."""
        n, t, width = x.shape
        packed = self.qkv(x).reshape(n, t, 3, self._n_heads, _HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        queries, keys, values = packed.unbind(0)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).reshape(n, t, width))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear layers with GELU between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (n, t, width) to (n, t, width)."""
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class EncoderBlock(nn.Module):
    """Attention and two linear layers, each after a layer norm and added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, _EPS)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, _EPS)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (n, t, width) to (n, t, width)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class PatchEmbedding(nn.Module):
    """A strided convolution that makes one token of each patch."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to tokens (n, patches, width)."""
        return self.proj(x).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """The encoder with a class token, read by one linear layer; state-dict names as in timm.

    The names are cls_token, pos_embed, patch_embed.proj, blocks.0.norm1, blocks.0.attn.qkv, blocks.0.mlp.fc1, norm, head.

    Args:
        width: channels of a token, a multiple of 64 (192 is Ti, 384 S, 768 B).
        n_classes: outputs.
        n_blocks: encoder blocks.
        image_size: height and width, a multiple of `patch_size`.
        patch_size: height and width of a patch.

    Example:
        >>> VisionTransformer(64, 10, n_blocks=1, image_size=32)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, width: int, n_classes: int, n_blocks: int = 12, image_size: int = 224, patch_size: int = 16) -> None:
        super().__init__()
        if width % _HEAD_WIDTH:
            raise ValueError(f"width must be a multiple of {_HEAD_WIDTH}, not {width}")
        if image_size % patch_size:
            raise ValueError(f"image_size must be a multiple of patch_size ({patch_size}), not {image_size}")
        n_tokens = 1 + (image_size // patch_size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, n_tokens, width))
        self.patch_embed = PatchEmbedding(width, patch_size)
        self.blocks = nn.Sequential(*(EncoderBlock(width) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(width, _EPS)
        self.head = nn.Linear(width, n_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, image_size, image_size) to logits (n, n_classes)."""
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])  # type: ignore[no-any-return]


def _initialise(module: VisionTransformer) -> None:
    """Draw tokens, positions and linear weights from a normal distribution (0.02, cut at two deviations); shifts are 0."""
    weights = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
    for weight in (module.cls_token, module.pos_embed, *weights):
        nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
