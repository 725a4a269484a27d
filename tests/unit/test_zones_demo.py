"""The main job's comparison and report, without a network."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from zones.demo import first_difference
from zones.report import Member, Report

ALICE = "0x" + "01" * 20
TEXTS = ["one", "two", "three"]


def read(*texts: str | None, sender: str = ALICE) -> list[dict[str, Any]]:
    return [{"id": number, "sender": sender, "text": text} for number, text in enumerate(texts, 1)]


REPORT = Report(
    network="http://127.0.0.1:4943",
    factory="factory-cai",
    zone_id=ALICE,
    zone="zone-cai",
    members=[Member("alice", ALICE, "principal", 200)],
    sent=1_000,
    arrived=1_000,
    plain_bytes=100_000,
    encrypted_bytes=150_000,
    batches=2,
    factory_wasm_bytes=1,
    zone_wasm_bytes=1,
    send_cycles=512_400_000,
    factory_cycles=18_000_000_000_000,
    factory_start_cycles=20_000_000_000_000,
    zone_cycles=999_000_000_000,
    zone_start_cycles=1_000_000_000_000,
    seconds={"build": 1.0},
)


def test_the_same_messages_show_no_difference() -> None:
    assert first_difference(TEXTS, read(*TEXTS), ALICE) is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (read("one", "two"), "2 messages were read, 3 sent"),
        (read("one", "two", "three", "four"), "4 messages were read, 3 sent"),
        (read("one", "three", "two"), "message 2 is 'three', sent was 'two'"),
        (read("one", None, "three"), "message 2 is None"),
        (read(*TEXTS, sender="0x" + "02" * 20), "is from 0x0202"),
    ],
)
def test_every_difference_is_named(found: list[dict[str, Any]], said: str) -> None:
    assert said in (first_difference(TEXTS, found, ALICE) or "")


def test_a_report_is_intact_only_when_everything_arrived() -> None:
    assert REPORT.intact
    assert not dataclasses.replace(REPORT, fault="message 1 differs").intact
    assert not dataclasses.replace(REPORT, arrived=999).intact
    assert not dataclasses.replace(REPORT, sent=0, arrived=0).intact


def test_instructions_are_what_is_left_of_the_cycles_without_fees() -> None:
    assert REPORT.instructions == 512_400_000 - 2 * 6_200_000 - (150_000 + 44_000) * 2_000


def test_the_report_says_what_arrived_and_what_it_cost() -> None:
    text = "\n".join(REPORT.lines())
    for said in ("factory-cai", "zone-cai", ALICE, "every one intact", "512_400_000 burned", "999_000_000_000 left"):
        assert said in text
    broken = "\n".join(dataclasses.replace(REPORT, fault="message 7 differs").lines())
    assert "NOT INTACT: message 7 differs" in broken
    assert REPORT.data()["intact"] is True
