"""Networks as other people write them: classes of Hugging Face transformers, made small by their configurations.

Each entry: the model's class and configuration, the example's shape (without batch; one number for token ids).
"""

from dataclasses import dataclass, field
from typing import Any

import torch

_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_PATCHES = {"image_size": 32, "patch_size": 8}
_STAGES = {"num_encoder_blocks": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "mlp_ratios": [2, 2]}
_TEXT = {"vocab_size": 50, "max_position_embeddings": 16}
_HEADS = {"num_attention_heads": [1, 2]}
_CVT: dict[str, Any] = {"embed_dim": [8, 16], "num_heads": [1, 2], "depth": [1, 2], "cls_token": [False, True]}
_CVT |= {
    "patch_sizes": [7, 3],
    "patch_stride": [4, 2],
    "patch_padding": [2, 1],
    "kernel_qkv": [3, 3],
    "mlp_ratio": [2.0, 2.0],
}
_CVT |= {name: [0.0, 0.0] for name in ("attention_drop_rate", "drop_rate", "drop_path_rate")}
_CVT |= {"padding_kv": [1, 1], "stride_kv": [2, 2], "padding_q": [1, 1], "stride_q": [1, 1]}
_CVT |= {"qkv_bias": [True, True], "qkv_projection_method": ["dw_bn", "dw_bn"]}


@dataclass(frozen=True)
class Foreign:
    """A network by the names of its class and configuration.

    Attributes:
        groups: how many channel groups may be pruned, of how many channels (or heads) in all.
        reasons: parts of reasons for which channels stay.
    """

    model: str
    config: str
    settings: dict[str, Any]
    shape: tuple[int, ...] = (3, 32, 32)
    part: str = ""
    groups: tuple[int, int] = (0, 0)
    reasons: tuple[str, ...] = ()
    further: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        return self.model + ("+" if self.further else "")

    def module(self, transformers):
        config = getattr(transformers, self.config)(num_labels=5, **self.settings, **self.further)
        model = getattr(transformers, self.model)(config)
        return getattr(model, self.part) if self.part else model

    def example(self, batch=2, seed=0):
        generator = torch.Generator().manual_seed(seed)
        if len(self.shape) == 1:
            return torch.randint(1, 50, (batch, *self.shape), generator=generator)
        return torch.randn(batch, *self.shape, generator=generator)


NETWORKS = [
    Foreign("ViTForImageClassification", "ViTConfig", {**_VIT, **_PATCHES}, groups=(5, 136)),
    Foreign("DeiTForImageClassification", "DeiTConfig", {**_VIT, **_PATCHES}, groups=(5, 136)),
    Foreign(
        "BeitForImageClassification", "BeitConfig", {**_VIT, **_PATCHES, "use_relative_position_bias": True}, groups=(5, 136)
    ),
    Foreign("Data2VecVisionForImageClassification", "Data2VecVisionConfig", {**_VIT, **_PATCHES}, groups=(5, 136)),
    Foreign("Dinov2ForImageClassification", "Dinov2Config", {**_VIT, **_PATCHES, "mlp_ratio": 2}, groups=(5, 168)),
    Foreign(
        "Dinov2ForImageClassification",
        "Dinov2Config",
        {**_VIT, **_PATCHES, "mlp_ratio": 2},
        further={"use_swiglu_ffn": True},
        groups=(5, 136),
    ),
    Foreign("CLIPVisionModel", "CLIPVisionConfig", {**_VIT, **_PATCHES}, groups=(4, 104)),
    Foreign(
        "YolosForObjectDetection",
        "YolosConfig",
        {**_VIT, "image_size": [32, 32], "patch_size": 8, "num_detection_tokens": 6},
        groups=(8, 232),
    ),
    Foreign(
        "SwinForImageClassification",
        "SwinConfig",
        {"embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4, "image_size": 32},
        groups=(8, 312),
    ),
    Foreign(
        "Swinv2ForImageClassification",
        "Swinv2Config",
        {"embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4, "image_size": 32},
        groups=(11, 1848),
    ),
    Foreign(
        "FocalNetForImageClassification",
        "FocalNetConfig",
        {
            "image_size": 32,
            "embed_dim": 16,
            "depths": [1, 1],
            "hidden_sizes": [16, 32],
            "focal_levels": [2, 2],
            "focal_windows": [3, 3],
        },
        groups=(8, 336),
        reasons=("spreads it over other channels",),
    ),
    Foreign(
        "HieraForImageClassification",
        "HieraConfig",
        {
            "image_size": [64, 64],
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "query_stride": [2, 2],
            "masked_unit_size": [8, 8],
            "num_query_pool": 1,
        },
        (3, 64, 64),
        groups=(6, 243),
    ),
    Foreign(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2},
        groups=(5, 184),
    ),
    Foreign(
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2},
        groups=(5, 184),
    ),
    Foreign(
        "ResNetForImageClassification",
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [16, 24], "depths": [1, 2]},
        groups=(9, 80),
    ),
    Foreign(
        "RegNetForImageClassification",
        "RegNetConfig",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "groups_width": 8},
        groups=(12, 118),
    ),
    Foreign(
        "BitForImageClassification",
        "BitConfig",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "num_groups": 4},
        groups=(0, 0),
        reasons=("its weight is computed",),
    ),
    Foreign(
        "MobileNetV1ForImageClassification",
        "MobileNetV1Config",
        {"depth_multiplier": 0.25, "image_size": 32},
        groups=(14, 1496),
    ),
    Foreign(
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        {"depth_multiplier": 0.35, "image_size": 32},
        groups=(25, 4144),
    ),
    Foreign(
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        {"width_coefficient": 0.25, "depth_coefficient": 0.3, "image_size": 32, "hidden_dim": 320},
        groups=(24, 1696),
    ),
    Foreign(
        "MobileViTForImageClassification",
        "MobileViTConfig",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 40],
            "num_attention_heads": 2,
        },
        (3, 64, 64),
        groups=(43, 1306),
    ),
    Foreign(
        "MobileViTV2ForImageClassification",
        "MobileViTV2Config",
        {"image_size": 64, "base_attn_unit_dims": [16, 24, 32], "n_attn_blocks": [1, 1, 1], "width_multiplier": 0.5},
        (3, 64, 64),
        groups=(24, 2416),
        reasons=("spreads it over other channels",),
    ),
    Foreign(
        "LevitForImageClassification",
        "LevitConfig",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8] * 3,
        },
        (3, 64, 64),
        groups=(16, 356),
    ),
    Foreign(
        "PoolFormerForImageClassification",
        "PoolFormerConfig",
        {**_STAGES, "patch_sizes": [7, 3], "strides": [4, 2], "padding": [2, 1]},
        groups=(4, 120),
    ),
    Foreign(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {**_STAGES, **_HEADS, "sr_ratios": [2, 1], "patch_sizes": [3, 3], "strides": [2, 2], "decoder_hidden_size": 16},
        groups=(11, 139),
    ),
    Foreign(
        "PvtForImageClassification",
        "PvtConfig",
        {
            **_STAGES,
            **_HEADS,
            "image_size": 32,
            "sequence_reduction_ratios": [2, 1],
            "patch_sizes": [4, 2],
            "strides": [4, 2],
        },
        groups=(8, 91),
    ),
    Foreign("CvtForImageClassification", "CvtConfig", _CVT, groups=(9, 117)),
    Foreign(
        "SwiftFormerForImageClassification",
        "SwiftFormerConfig",
        {"embed_dims": [8, 16, 16, 24], "depths": [1] * 4},
        (3, 64, 64),
        groups=(17, 452),
        reasons=("spreads it over other channels",),
    ),
    Foreign(
        "BertForSequenceClassification",
        "BertConfig",
        {**_VIT, **_TEXT},
        (8,),
        groups=(5, 136),
        reasons=("embeddings stay whole",),
    ),
    Foreign(
        "GPT2ForSequenceClassification",
        "GPT2Config",
        {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": 50,
            "n_positions": 16,
            "pad_token_id": 0,
            "use_cache": False,
        },
        (8,),
        groups=(4, 264),
        reasons=("embeddings stay whole",),
    ),
    Foreign(
        "LlamaForSequenceClassification",
        "LlamaConfig",
        {**_VIT, **_TEXT, "num_key_value_heads": 2, "pad_token_id": 0, "use_cache": False},
        (8,),
        groups=(4, 100),
        reasons=("embeddings stay whole",),
    ),
    Foreign(
        "WhisperModel",
        "WhisperConfig",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "num_mel_bins": 16,
            "max_source_positions": 20,
            "vocab_size": 50,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        (16, 40),
        part="encoder",
        groups=(5, 136),
    ),
]
