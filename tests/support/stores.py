"""The canisters' stores on the host, over stand-ins for their stable maps."""

from typing import Any

from tests.support.maps import maps_of
from zone_canister.messages import MessageStore


def message_store(maps: Any = None) -> MessageStore:
    """An empty message store, over the given maps of the zone canister or fresh ones."""
    maps = maps or maps_of("zone_canister")
    return MessageStore(
        maps.settings_map,
        maps.message_states_map,
        maps.message_pages_map,
        maps.message_directory_map,
        maps.message_hints_map,
    )
