"""Cards of tickets."""

from __future__ import annotations

from typing import Any

SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
CARD: dict[str, Any] = {
    "name": "m30k-de-en",
    "languages": ["de", "en"],
    "licence": "CC BY-NC-SA 4.0",
    "data": [{"name": "Multi30k", "licence": "Flickr's terms", "attribution": "Elliott et al. (2016)"}],
    "scores": [{"metric": "BLEU", "value": 36.25, "on": "Multi30k test 2016", "signature": SIGNATURE}],
    "date": "2024-05-01",
    "command": "fairseq-train data --arch one_layer_masked",
}
MARKUP = "<img src=x onerror=alert(1)> [b]x[/b] [x](http://x) | `$x$` \\ {{ 7*7 }} & --- :smile: \"'"


def marked_card() -> dict[str, Any]:
    """A card whose every text is markup, of many kinds."""

    def marked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: marked(part) for name, part in value.items()}
        if isinstance(value, list):
            return [marked(part) for part in value]
        return MARKUP if isinstance(value, str) else value

    card: dict[str, Any] = marked(CARD)
    return card
