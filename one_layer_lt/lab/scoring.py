"""What a ticket is worth on a test set, and several of one kind in a row of a table. It takes no fairseq."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from ..errors import UserError
from ..text.ctranslate import CTranslator
from ..text.manifest import Manifest, read_split
from ..text.metrics import bleu_of
from ..ticket import Ticket
from ..translation import Decoding, Progress, no_progress

Result = Mapping[str, Any]


def translations(
    data: Path, split: str = "test", lines: int | None = None, decoding: Decoding | None = None
) -> tuple[int, Callable[..., Result]]:
    """(number of sentences, what scores a ticket's translations of them) of a prepared data folder.

    lines: only so many, the first. The scores of ``measure(ticket, progress)`` are ``bleu``, with ``signature`` and
    ``brevity_penalty``; and where CTranslate2 translates, ``loss``: nats of a reference's subword, its end included.

    Raises ``UserError`` where the folder is none, or is of other languages than the ticket.
    """
    manifest = Manifest.read(data)
    manifest.verify(data, f"raw/{split}.*")
    settings = manifest.settings
    sources, references = (read_split(data / "raw", split, language)[:lines] for language in settings.languages)
    metric = bleu_of(settings)

    def measure(ticket: Ticket, progress: Progress = no_progress) -> Result:
        of = ticket.architecture.get("source"), ticket.architecture.get("target")
        translator = ticket.translator()
        if of != settings.languages:
            raise UserError(
                f"--data {data} is {' to '.join(settings.languages)}, and the ticket {' to '.join(map(str, of))}: "
                "name the folder of its languages"
            )
        found = metric.corpus_score(translator.translate(sources, decoding or Decoding(), progress), [references])
        result = {"bleu": found.score, "brevity_penalty": found.bp, "signature": str(metric.get_signature())}
        if isinstance(translator, CTranslator):
            nats, subwords = translator.nats(sources, references)
            result["loss"] = nats / subwords
        return result

    return len(sources), measure


def cells(results: Sequence[Result]) -> dict[str, str]:
    """A row of a table, by its columns, of the results of one thing's seeds: means, with ± the standard deviation."""

    def shown(name: str, form: str, factor: float = 1.0) -> str:
        values = [factor * result[name] for result in results if result.get(name) is not None]
        if not values:
            return ""
        spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):{form}}{spread}"

    losses = [result["loss"] for result in results if result.get("loss") is not None]
    perplexity = f"{math.exp(min(statistics.fmean(losses), 700)):,.4g}" if losses else ""
    return {
        "seeds": str(len(results)),
        "BLEU": shown("bleu", ".2f"),
        "brevity penalty": shown("brevity_penalty", ".3f"),
        "accuracy, %": shown("accuracy", ".2f", 100),
        "loss, nats": shown("loss", ".3f"),
        "perplexity": perplexity,
    }
