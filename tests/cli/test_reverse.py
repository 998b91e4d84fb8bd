"""one-layer-lt reverse: the other direction of a data folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.lib.binary import read_train
from fairseq_plugins.commands.reverse import reverse
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.text.subwords import Subword
from tests.plugin.running import prepared


@pytest.mark.parametrize("joined", [True, False])
def test_source_and_target_swap(tmp_path: Path, joined: bool) -> None:
    data, out = prepared(tmp_path, Subword("sentencepiece", 60), joined=joined), tmp_path / "out"
    reverse(data, out)
    forth, back = Manifest.read(data), Manifest.read(out)
    back.verify(out)
    assert back.settings == replace(forth.settings, source="yy", target="xx")
    assert back.pairs == forth.pairs
    assert {name.replace("yy-xx", "xx-yy"): digest for name, digest in back.sha256.items()} == forth.sha256
    for language in ("xx", "yy"):
        lines = list(read_train(data, forth.settings, language))
        assert list(read_train(out, back.settings, language)) == lines
    reverse(out, tmp_path / "again")
    assert (tmp_path / "again/data.json").read_bytes() == (data / "data.json").read_bytes()
    with pytest.raises(UserError, match="out is there already"):
        reverse(data, out)
