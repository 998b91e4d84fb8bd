"""A ticket's weights as the page decodes them: those of Python, bit for bit; and damage, which it refuses."""

from __future__ import annotations

import hashlib
from typing import Any, Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load

from one_layer_lt import RULES, Ticket, WeightPool, load_ticket
from one_layer_lt.ticket.encoding import to_bytes
from one_layer_lt.ticket.fill import _effective_
from tests.support.signing import metadata_of, signed
from tests.web.running import GOLDEN, base64_of, javascript, needs_node

TICKETS = sorted(GOLDEN.glob("*.ticket"))

DECODE = """
const found = {};
for (const [name, content] of Object.entries(given)) {
  const weights = await weightsOf(openTicket(bytes(content)), new WeightPool());
  const digest = ({ values }) => hex(sha256(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));
  found[name] = Object.fromEntries([...weights].map(([tensor, value]) => [tensor, [...value.shape, digest(value)]]));
}
return found;
"""

REFUSED = """
return Promise.all(given.map((content) => (async () => {
  await weightsOf(openTicket(bytes(content)), new WeightPool());
  return "";
})().catch((error) => error.message)));
"""


def decoded(ticket: Ticket) -> dict[str, list[object]]:
    """Of each tensor its shape, and the digest of its float32 bytes."""
    pool, found = WeightPool(), {}
    for mask in ticket.masks:
        drawn = ticket.existing.get(mask.weight)
        weight = pool.get(mask.weight, ticket.redraws.get(mask.weight)) if drawn is None else drawn
        effective = torch.empty(mask.weight.shape)
        _effective_(effective, mask, weight)
        found |= dict.fromkeys((mask.name, *mask.also), effective)
    found |= {name: tensor.float() for name, tensor in ticket.dense.items()}
    return {
        name: [*tensor.shape, hashlib.sha256(tensor.numpy().astype("<f4").tobytes()).hexdigest()]
        for name, tensor in found.items()
    }


@needs_node
@pytest.mark.parametrize("without", ["", 'Object.defineProperty(globalThis, "crypto", { value: undefined });'])
def test_the_weights_of_every_golden_ticket_are_pythons(without: str) -> None:
    """Every rule, layout, init, coding and type: tests/core/test_golden.py has them all there."""
    found = javascript(without + DECODE, {path.stem: base64_of(path.read_bytes()) for path in TICKETS})
    assert found == {path.stem: decoded(load_ticket(path)) for path in TICKETS}
    rules = {mask.config.rule for path in TICKETS for mask in load_ticket(path).masks}
    assert rules == set(RULES)


@needs_node
def test_a_flipped_bit_is_refused_wherever_it_is() -> None:
    content = (GOLDEN / "signed.ticket").read_bytes()
    chance = np.random.default_rng(1)
    flipped = []
    for at in [0, 7, 8, *chance.integers(9, len(content), 60), len(content) - 1]:
        one = bytearray(content)
        one[at] ^= 1 << int(chance.integers(8))
        flipped.append(base64_of(bytes(one)))
    flipped += [base64_of(content[:length]) for length in (0, 1, 7, 8, 100, len(content) - 1)]
    found = javascript(REFUSED, flipped)
    assert all(found), [number for number, said in enumerate(found) if not said]


@needs_node
def test_what_a_ticket_cannot_be_is_said() -> None:
    """Signed anew, so that the digest holds: a rule that is unknown, another draw, planes of another size."""
    content = (GOLDEN / "edge_popup.ticket").read_bytes()

    def changed(edit: Callable[[dict[str, Any]], None]) -> str:
        about = metadata_of(content)
        edit(about)
        return base64_of(signed(about, load(content)))

    found = javascript(
        REFUSED,
        [
            changed(lambda about: about["configs"][0].update(rule="guess")),
            changed(lambda about: about["configs"][0].update(rule="toString")),
            changed(lambda about: about["weights"][0].update(seed=4)),
            changed(lambda about: about["weights"][0].update(init="ones")),
            changed(lambda about: about["planes"][0].update(size=10**9)),
            changed(lambda about: about.update(version=2)),
            changed(lambda about: about.update(format="another")),
        ],
    )
    expected = ["rule guess is unknown", "rule toString is unknown", "does not come out as it was", "unknown init ones"]
    expected += ["does not hold 1000000000 bytes", "format version 2", "no ticket"]
    assert [part in said for part, said in zip(expected, found)] == [True] * len(expected), found


@needs_node
def test_random_weights_are_drawn_once_for_several_tickets() -> None:
    path = GOLDEN / "sign.ticket"
    ticket = load_ticket(path)
    code = """
    const pool = new WeightPool();
    for (const content of given) await weightsOf(openTicket(bytes(content)), pool);
    return pool.size;
    """
    other = load_ticket(GOLDEN / "init-kaiming_normal.ticket")
    assert javascript(code, [base64_of(to_bytes(one)) for one in (ticket, ticket)]) == len(ticket.weights)
    both = javascript(code, [base64_of(to_bytes(one)) for one in (ticket, other)])
    assert both == len({(spec.name, spec.init, spec.scale) for one in (ticket, other) for spec in one.weights})


@needs_node
def test_sha256_is_hashlibs() -> None:
    """Of all lengths about a block's, in one part and in two."""
    chance = np.random.default_rng(2)
    contents = [chance.bytes(length) for length in [*range(140), 1000, 4096]]
    code = """
    return given.map((content) => {
      const all = bytes(content), middle = all.length >> 1;
      return [hex(sha256(all)), hex(sha256(all.subarray(0, middle), all.subarray(middle)))];
    });
    """
    expected = [[hashlib.sha256(content).hexdigest()] * 2 for content in contents]
    assert javascript(code, list(map(base64_of, contents))) == expected
