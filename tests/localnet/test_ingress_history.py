"""The ingress history is bounded: what waits for an answer is refused beyond that, and old answers go."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet import ingress
from localnet.errors import ErrorCode, Reject, RejectCode
from localnet.ingress import ENTRY_BYTES, Ingress, IngressHistory
from localnet.message import Rejection, Reply, Response
from localnet.principal import ANONYMOUS
from tests.localnet.direct import Direct
from tests.localnet.wat import COUNTER, GATE, canister, number
from tests.localnet.worlds import MODULE, REQUEST

MEBIBYTE = 1 << 20


@pytest.mark.localnet_only("fills localnet's ingress history")
def test_calls_that_wait_are_bounded_in_bytes_and_the_next_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress, "MAX_WAITING_BYTES", 3 * MEBIBYTE)
    direct = Direct()
    network, target = direct.network, direct.deploy(canister(COUNTER))
    for _ in range(2):
        network.submit(ANONYMOUS, target.id, "increment", bytes(MEBIBYTE))
    before = target.cycles, network.ingress.waiting_bytes
    text = rf"capacity {3 * MEBIBYTE} reached: calls of {network.ingress.waiting_bytes} bytes wait for their answers"
    with pytest.raises(Reject, match=text) as refused:
        network.submit(ANONYMOUS, target.id, "increment", bytes(MEBIBYTE))
    assert refused.value.error_code is ErrorCode.INGRESS_HISTORY_FULL
    assert (target.cycles, network.ingress.waiting_bytes) == before
    expiry = network.clock.now + 60_000_000_000
    answer = direct.post(target.id, "increment", b"", expiry, bytes(MEBIBYTE))
    assert answer.status_code == 200
    rejection = cbor2.loads(answer.content)
    assert (rejection["status"], rejection["reject_code"]) == ("non_replicated_rejection", 2)
    assert rejection["error_code"] == "IC0204"
    assert len(target.queue) == 2
    network.tick()
    assert network.ingress.waiting_bytes == 0
    assert direct.post(target.id, "increment", b"", expiry, bytes(MEBIBYTE)).status_code == 202
    network.tick()
    assert number(network.query(ANONYMOUS, target.id, "read", b"")) == 3


@pytest.mark.localnet_only("looks into localnet's ingress history")
def test_answers_beyond_the_bound_go_even_behind_a_call_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = Direct()
    network, fetching, gate = direct.network, direct.deploy(MODULE), direct.deploy(canister(GATE))
    waiting = network.submit(ANONYMOUS, fetching.id, "fetch", REQUEST)
    direct.update(gate.id, "poll")
    assert network.ingress[waiting].response is None
    monkeypatch.setattr(ingress, "MAX_ANSWERED", 3)
    rids = [network.submit(ANONYMOUS, gate.id, "poll", b"") for _ in range(5)]
    network.tick()
    assert [rid in network.ingress for rid in rids] == [False, False, True, True, True]
    monkeypatch.setattr(ingress, "MAX_ANSWER_BYTES", 2 * ENTRY_BYTES + 2 * 4)
    network.tick()
    assert [rid in network.ingress for rid in rids] == [False, False, False, True, True]
    direct.advance(ingress.KEPT / 1e9)
    assert list(network.ingress) == [waiting]


SIZES = st.integers(0, 3000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), SIZES),
        st.tuples(st.just("answer"), st.integers(0, 20), SIZES, st.booleans()),
        st.tuples(st.just("forget"), st.sampled_from([0, 1, ingress.KEPT])),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_bytes_that_are_held_are_counted(steps: list[tuple[object, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingress, "MAX_WAITING_BYTES", 8 * ENTRY_BYTES)
        patch.setattr(ingress, "MAX_ANSWER_BYTES", 5 * ENTRY_BYTES)
        history, now = IngressHistory(), 1
        for number, step in enumerate(steps):
            match step:
                case ("add", int(size)):
                    fits = sum(_waits(history)) + size + ENTRY_BYTES <= 8 * ENTRY_BYTES
                    rid = b"%d" % number
                    try:
                        history.check_room(size)
                    except Reject:
                        assert not fits
                        continue
                    assert fits
                    history.add(Ingress(rid, b"", b"", b"", b"", now, size))
                case ("answer", int(which), int(size), bool(replied)):
                    open_calls = [rid for rid, entry in history.items() if entry.response is None]
                    if open_calls:
                        history.answer(open_calls[which % len(open_calls)], _response(size, replied), now)
                case ("forget", int(later)):
                    now += later
                    history.forget(now)
                    answers = [entry for entry in history.values() if entry.response is not None]
                    assert all(now - entry.answered < ingress.KEPT for entry in answers)
                    assert history.answer_bytes <= 5 * ENTRY_BYTES
                case _:
                    raise AssertionError(step)
            assert history.waiting_bytes == sum(_waits(history))
            assert history.answer_bytes == sum(
                ENTRY_BYTES + len(entry.response.data if isinstance(entry.response, Reply) else entry.response.message)
                for entry in history.values()
                if entry.response is not None
            )


def _waits(history: IngressHistory) -> list[int]:
    return [entry.size + ENTRY_BYTES for entry in history.values() if entry.response is None]


def _response(size: int, replied: bool) -> Response:
    return Reply(bytes(size)) if replied else Rejection(RejectCode.CANISTER_REJECT, "x" * size, 406)
