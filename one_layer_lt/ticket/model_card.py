"""A ticket's card in the format of Hugging Face's model cards: https://huggingface.co/docs/hub/model-cards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..markdown import table
from .card import facts
from .parts import Contents, TicketError

_TASKS = {"fairseq_transformer": "translation", "vision": "image-classification"}
# Of Hugging Face's identifiers, those that are written as the licences are; others have the licence ``other``.
_LICENCES = re.compile(r"mit|apache-2\.0|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.\d|bsd-[23]-clause|[al]?gpl-[23]\.[01]")


def model_card(ticket: Contents) -> str:
    """The text of a README.md. Raises ``TicketError`` where the ticket has no card."""
    card = ticket.card
    if not card:
        raise TicketError("has no card: give it one with one-layer-lt export --card FILE")
    task = _TASKS.get(str(ticket.architecture.get("kind")))
    scores, licence = card.get("scores", []), _id(card.get("licence", "unknown"))
    named = licence == "unknown" or _LICENCES.fullmatch(licence)
    results = [_result(task or "other", score) for score in scores]
    front = {
        "language": card.get("languages"),
        "license": licence if named else "other",
        "license_name": None if named else licence,
        "library_name": "one_layer_lt",
        "pipeline_tag": task,
        "datasets": [_id(data["name"]) for data in card.get("data", [])],
        "metrics": list(dict.fromkeys(_id(score["metric"]) for score in scores)),
        "model-index": [{"name": card["name"], "results": results}] if results else None,
    }
    lines = ["---", *(f"{name}: {_yaml(value)}" for name, value in front.items() if value), "---", ""]
    lines += [
        f"# {_plain(card['name'])}",
        "",
        *table(("", ""), *([_plain(name), _plain(text)] for name, text in facts(card))),
    ]
    return "\n".join([*lines, ""])


def _result(task: str, score: Mapping[str, Any]) -> dict[str, Any]:
    on, metric = score.get("on", "unknown"), score["metric"]
    args = {"signature": score["signature"]}
    measured = {"type": _id(metric), "value": score["value"], "name": metric, "args": args}
    return {"task": {"type": task}, "dataset": {"type": _id(on), "name": on}, "metrics": [measured]}


def _yaml(value: Any) -> str:
    """JSON is YAML; all texts can be printed."""
    return json.dumps(value, ensure_ascii=False)


def _id(text: str) -> str:
    """Words as an identifier."""
    return re.sub(r"[^a-z0-9./_-]+", "-", text.lower()).strip("-") or "unknown"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#&~$])", r"\\\1", text)
