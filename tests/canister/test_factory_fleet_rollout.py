"""A rollout over a fleet, three of whose zones fail, while members keep adding: nobody stays stopped, nothing is lost.

`make test-fleet` (FULL_FLEET) takes 50 zones.
"""

from __future__ import annotations

import os
from collections import Counter

from tests.support.factories import T, deploy_factory, publish, set_policy
from tests.support.rollouts import LOSES, VERSION, Writer, make_zones, outcomes, run, states
from tests.support.variants import build_zone_variant
from tests.support.zones import TEAM

CHILDREN = 50 if os.environ.get("FULL_FLEET") else 8
FAILING = 3


def test_a_rollout_over_a_fleet_puts_back_what_fails_and_loses_nothing(
    network, factory_build, zone_build, tmp_path_factory
):
    factory = deploy_factory(network, factory_build, (100 + 3 * CHILDREN) * T)
    publish(factory, zone_build.wasm)
    most = 3 * CHILDREN * T
    set_policy(
        factory,
        daily_creations=CHILDREN,
        unproven_creations=CHILDREN,
        daily_cycles=most,
        unproven_cycles=most,
    )
    # Those that fail are spread over the fleet, behind the canaries.
    failing = {(number + 1) * (CHILDREN - 1) // FAILING for number in range(FAILING)}
    endings = [f"{number:03d}" + ("b" if number in failing else "0") for number in range(CHILDREN)]
    zones = make_zones(factory, zone_build.did, endings)
    publish(factory, build_zone_variant(tmp_path_factory.mktemp("next"), VERSION, LOSES), 1001)
    writer = Writer(zones)
    plan = {"release": 1001, "canary": 2, "batch": 5, "pause_on_failures": FAILING + 1}
    assert factory.call("start_rollout", plan, sender=TEAM) == ("ok", 1)
    told = run(factory, writer=writer)
    assert told["state"] == ("done", None)
    found = outcomes(told, zones)
    assert Counter(found.values()) == {"upgraded": CHILDREN - FAILING, "restored": FAILING}
    assert {name for name, outcome in found.items() if outcome == "restored"} == {
        name for name in zones if name.endswith("b")
    }
    assert states(factory, zones) == {"running"}
    writer.send()
    writer.collect()
    assert sum(map(len, writer.acknowledged.values())) > 0
    assert writer.lost() == []
    versions = Counter(zone.call("get_version") for zone in zones.values())
    assert versions == {1001: CHILDREN - FAILING, 1000: FAILING}
    assert all(network.snapshots(zone.id, sender=factory.id) == [] for zone in zones.values())
