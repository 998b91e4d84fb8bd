"""The sentences under a study's table, which say what its columns mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator

SHARE = "share of dense BLEU"
BITS, LOSS = "bits a weight", "valid loss"
MEANINGS = {
    "updates": "Updates are those before the checkpoint that was scored.",
    BITS: "Bits a weight are those of the file, over the number of weights.",
    LOSS: "Valid loss is the lowest of all epochs, in nats a token, without label smoothing.",
    "valid perplexity": "Perplexity is the lowest of all epochs.",
    "effect": "The effect is the validation BLEU minus that of the first row.",
    "length penalty": "The length penalty is, for each seed, the one of highest validation BLEU.",
    "95% interval": (
        "The 95% interval is sacrebleu's, over resamples of the test sentences; with several seeds, from the mean of "
        "the lower ends to that of the upper ends."
    ),
    "exact matches": "Exact matches are the test sentences that are translated word for word as the reference.",
    "test accuracy": "Test accuracy is that after the last epoch.",
    "file, kB": "The file is a ticket, or a dense model in float32, without dictionaries and tokenizer.",
    "minutes": "Minutes are those of training.",
}
"""By column, what a reader cannot know from its name."""


def caption(columns: Collection[str], signatures: Collection[str], beam: int, dense: str, has_spread: bool) -> str:
    """One line. dense: the row that shares are of; has_spread: whether figures have a standard deviation."""
    return " ".join(_sentences(columns, signatures, beam, dense, has_spread))


def _sentences(
    columns: Collection[str], signatures: Collection[str], beam: int, dense: str, has_spread: bool
) -> Iterator[str]:
    if signatures:
        yield f"BLEU is sacrebleu's, `{'`, `'.join(signatures)}`, with beam {beam}."
    if has_spread:
        yield "A figure with ± is the mean of several seeds and their standard deviation."
    if any("brevity penalty" in column for column in columns):
        yield "A brevity penalty below 1 means that translations are too short."
    if SHARE in columns:
        yield f"The {SHARE} is the test BLEU over that of {dense!r}, the dense model of highest validation BLEU."
    yield from (meaning for column, meaning in MEANINGS.items() if column in columns)
