"""What both canisters share: checks of a zone's arguments and of a stable layout, marks of open calls."""

import struct
from typing import Any

import pytest

from canister_kit import layout
from canister_kit.in_flight import COUNTED_FOR, LOST_AFTER, InFlight
from canister_kit.zone_args import zone_args_fault

ZONE_ID = "0x90851525ee3b126e27ad74e381f9dc9c38f92319"
GOOD = (ZONE_ID, "prenet.diode.io:8443", "/", None)


@pytest.mark.parametrize("host", ["prenet.diode.io:8443", "sapphire.oasis.io", "localhost:1", "127.0.0.1:65535"])
def test_arguments_in_use_today_pass(host):
    assert zone_args_fault(ZONE_ID, host, "/", None) == ""
    assert zone_args_fault(ZONE_ID.upper().replace("0X", "0x"), host, "/v1/rpc?key=a", bytes(32)) == ""


@pytest.mark.parametrize(
    ("position", "value", "text"),
    [
        (0, "", "Invalid zone_id ''"),
        (0, ZONE_ID[2:], "Invalid zone_id"),
        (0, ZONE_ID[:-1] + "g", "expected 0x and 40 hex digits"),
        (1, "", "Invalid rpc_host"),
        (1, "https://host", "without a scheme"),
        (1, "host:0", "Invalid rpc_host"),
        (1, "host:65536", "Invalid rpc_host"),
        (1, "host:1:2", "Invalid rpc_host"),
        (1, ":80", "Invalid rpc_host"),
        (1, 'host"', "Invalid rpc_host"),
        (1, "h" * 254, "Invalid rpc_host"),
        (2, "", "Invalid rpc_path"),
        (2, "v1", "Invalid rpc_path"),
        (2, '/"', "Invalid rpc_path"),
        (2, "/\\", "Invalid rpc_path"),
        (2, "/ä", "Invalid rpc_path"),
        (2, "/" * 257, "Invalid rpc_path"),
        (3, b"", "Invalid call token size: 0"),
        (3, bytes(31), "Invalid call token size: 31"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(position, value, text):
    arguments: list[Any] = list(GOOD)
    arguments[position] = value
    assert text in zone_args_fault(*arguments)


def test_only_a_memory_manager_with_maps_of_this_builder_is_no_foreign_layout():
    assert layout.raw_fault(0, b"", b"") == ""
    assert layout.raw_fault(1, b"MGR\x01", b"") == ""
    assert layout.raw_fault(129, b"MGR\x01", b"BTR\x02") == ""
    assert "0x4d475202" in layout.raw_fault(129, b"MGR\x02", b"BTR\x02")
    assert "0x00000000" in layout.raw_fault(6, bytes(4), bytes(4))
    assert "as the builder template writes it" in layout.raw_fault(129, b"MGR\x01", b"BTR\x01")


def test_a_header_of_another_kind_is_foreign():
    header = layout.encode_header("zone")
    assert header == b"zone 1 template"
    assert layout.header_fault(header, "zone") == ""
    assert layout.header_fault(header, "factory") == (
        "stable memory holds the layout 'zone 1 template': expected 'factory 1 template'"
    )
    assert "holds the layout nothing" in layout.header_fault(None, "zone")
    assert "zone 2 template" in layout.header_fault(b"zone 2 template", "zone")


def test_logical_pages_are_the_sum_over_all_virtual_memories():
    assert layout.logical_pages(struct.pack("<255Q", *range(255))) == 255 * 254 // 2


def test_a_call_is_open_until_it_finishes_or_is_lost():
    calls = InFlight()
    calls.start(b"a", 0)
    calls.start(b"b", 5)
    assert calls.running(b"a", 1)
    assert calls.count(10) == 2
    calls.finish(b"a")
    calls.finish(b"never started")
    assert not calls.running(b"a", 1)
    assert calls.running(b"b", 5 + LOST_AFTER - 1)
    assert not calls.running(b"b", 5 + LOST_AFTER)
    assert calls.count(5 + LOST_AFTER) == 1
    assert calls.count(5 + COUNTED_FOR) == 0


def test_two_calls_with_one_key_are_two():
    calls = InFlight()
    calls.start(b"a", 0)
    calls.start(b"a", 0)
    assert calls.count(1) == 2
    calls.finish(b"a")
    assert calls.running(b"a", 1)
    assert calls.count(1) == 1
    calls.finish(b"a")
    assert not calls.running(b"a", 1)


def test_a_mark_that_a_trap_left_grows_old_though_calls_come_and_go():
    calls = InFlight()
    calls.start(b"key", 0)
    for now in range(1, LOST_AFTER + 1, LOST_AFTER // 10):
        calls.start(b"key", now)
        calls.finish(b"key")
    assert calls.waited_for(LOST_AFTER - 1) == 1
    assert calls.waited_for(LOST_AFTER) == 0
    assert not calls.running(b"key", LOST_AFTER)
    assert calls.count(LOST_AFTER) == 1
