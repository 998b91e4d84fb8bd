"""Mask rules: how scores become a mask, and how gradient reaches the scores. One file a rule."""

from __future__ import annotations

from .annealed import Annealed
from .base import Context, MaskRule, Member
from .bernoulli import Bernoulli
from .biprop import BiProp
from .continuous import Continuous
from .edge_popup import EdgePopup
from .gem_miner import GemMiner
from .iterand import IteRand
from .multicoat import MultiCoat
from .ranked import RankedRule
from .sign import Sign
from .signed import Signed
from .threshold import SigmoidThreshold, Threshold
from .topk import TopK

RULES: dict[str, type[MaskRule]] = {
    "edge_popup": EdgePopup,
    "topk": TopK,
    "sign": Sign,
    "signed": Signed,
    "bernoulli": Bernoulli,
    "threshold": Threshold,
    "sigmoid_threshold": SigmoidThreshold,
    "biprop": BiProp,
    "multicoat": MultiCoat,
    "annealed": Annealed,
    "continuous": Continuous,
    "gem_miner": GemMiner,
    "iterand": IteRand,
}

__all__ = ["RULES", "Context", "MaskRule", "Member", "RankedRule"]
