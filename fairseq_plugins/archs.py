"""The named sizes of ``one_layer_masked``: width, feed-forward width, heads and layers of encoder and decoder alike."""

from __future__ import annotations

from argparse import Namespace
from typing import Callable

from fairseq.models import register_model_architecture
from fairseq.models.transformer.transformer_legacy import base_architecture

from .one_layer_masked import NAME
from .options import set_defaults
from .stop import stop

SIZES = {
    "one_layer_masked": (512, 2048, 8, 6),
    "one_layer_masked_tiny": (128, 256, 4, 4),
    "one_layer_masked_small": (256, 1024, 4, 3),
    "one_layer_masked_iwslt_de_en": (512, 1024, 4, 6),
    "one_layer_masked_iwslt_de_en_wide": (1024, 2048, 4, 6),
    "one_layer_masked_iwslt_de_en_deep": (512, 1024, 4, 12),
    "one_layer_masked_iwslt_de_en_wide_deep": (1024, 2048, 4, 12),
    "one_layer_masked_wmt_en_de": (512, 2048, 8, 6),
    "one_layer_masked_wmt_en_de_wide": (1024, 4096, 16, 6),
    "one_layer_masked_wmt_en_de_wider": (1536, 6144, 24, 6),
}


def _architecture(width: int, ffn: int, heads: int, layers: int) -> Callable[[Namespace], None]:
    sizes = {"embed_dim": width, "ffn_embed_dim": ffn, "attention_heads": heads, "layers": layers}

    def set_architecture(args: Namespace) -> None:
        for name, size in sizes.items():
            for stack in ("encoder", "decoder"):
                setattr(args, f"{stack}_{name}", getattr(args, f"{stack}_{name}", size))
        try:
            set_defaults(args)
        except ValueError as error:
            stop(NAME, error)
        base_architecture(args)

    return set_architecture


for _name, _sizes in SIZES.items():
    register_model_architecture(NAME, _name)(_architecture(*_sizes))
