"""A signed call is carried out once, also when its answer is forgotten before it expires."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet import ingress
from localnet.principal import ANONYMOUS
from localnet.replays import Replays
from tests.localnet.direct import Direct
from tests.localnet.wat import COUNTER, canister, number


def test_a_call_whose_answer_is_forgotten_is_not_carried_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress, "MAX_ANSWERED", 2)
    direct = Direct()
    net, target = direct.network, direct.deploy(canister(COUNTER)).id

    def call(nonce: bytes) -> int:
        status = direct.post(target, "increment", nonce, expiry).status_code
        for _ in range(3):
            net.tick()
        return status

    expiry = net.clock.now + 60_000_000_000
    for nonce in (b"1", b"2", b"3", b"4", b"5"):
        assert call(nonce) == 202
    assert len(net.ingress) <= 2
    assert call(b"1") == 202
    assert number(net.query(ANONYMOUS, target, "read", b"")) == 5
    net.clock.set(expiry + 1)
    assert call(b"1") == 400


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 60), st.binary(min_size=1, max_size=1)), max_size=60))
def test_calls_are_remembered_until_they_expire_and_no_longer(arrivals: list[tuple[int, int, bytes]]) -> None:
    found = Replays()
    expiries: dict[bytes, int] = {}
    for now, life, rid in sorted(arrivals):
        expiries = {known: expiry for known, expiry in expiries.items() if expiry >= now}
        expiries.setdefault(rid, now + life)
        found.add(rid, now + life, now)
        assert all(known in found for known in expiries)
        assert len(found) == len(expiries)
