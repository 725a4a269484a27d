"""A factory and everybody around it: creators, owners, a wallet, an admin, the platform, and time.

What they do is named by `ACTS`, each with two numbers that say to whom and how much; whatever is refused is no failure.
Calls are only submitted: what was submitted together runs together. Not for what has to hold (`test_random_runs`).
"""

from __future__ import annotations

from typing import Any

import pytest
from ic.principal import Principal

from factory.returner import RETURNER_WASM
from factory.sweep import BEAT_SECONDS
from localnet import accounts, candid
from localnet import management_types as types
from localnet.canister import Status
from tests.fleet.chaos import Chaos
from tests.fleet.faults import Fault
from tests.fleet.flows import FIRST_RELEASE, Fleet
from tests.support.factories import T, publish, set_policy, wish
from tests.support.network import CallRejected
from tests.support.zones import TEAM, member, public_key, role_answer

CREATORS = 3
OWNERS = 2
KINDS = ("managed", "shared", "sovereign")
TIMES = (1, 15, 61, BEAT_SECONDS, 2 * BEAT_SECONDS, 3_600, 21_600, 43_200, 86_400, 31 * 86_400)
ROUNDS = 300
SECOND = 10**9


class World:
    """Acts on a fleet; `code` is what may be published, oldest first."""

    def __init__(self, fleet: Fleet, code: list[bytes]):
        self.fleet = fleet
        self.network = fleet.network
        self.chaos = Chaos(fleet.network, fleet.factory.id.bytes)
        self.code = code
        self.released = [fleet.factory.call("get_release")["wasm_hash"]]
        self.calls: list[Any] = []
        """Calls that were submitted and not looked at yet."""
        self.added = 0
        """Cycles that the battery was given."""
        self.chaos.reserve = fleet.factory.call("get_battery_policy")["reserve"]
        self.once_held: set[bytes] = set()
        """Children that others than the factory controlled at some time."""
        self.stopped: set[bytes] = set()
        """Children that somebody else stopped."""

    # Who and what ---------------------------------------------------------------------------------------

    def zones(self) -> list[Principal]:
        """The canisters that the factory made and that exist."""
        return [Principal(canister.id) for canister in self.fleet.made()]

    def zone(self, number: int) -> Principal:
        """One of them, or the first zone when there is none left."""
        found = self.zones()
        return found[number % len(found)] if found else self.fleet.zone

    def owner_of(self, zone: Principal) -> Principal | None:
        """Somebody other than the factory who controls a zone."""
        account = self.network.ic.canisters.get(zone.bytes)
        others = [
            one for one in (account.settings.controllers if account else []) if one != self.fleet.factory.id.bytes
        ]
        return Principal(others[0]) if others else None

    def speakers(self, zone: Principal) -> list[Principal]:
        """Who speaks for a zone, as the factory knows it."""
        told = self.fleet.factory.call("get_zone", zone.bytes)
        if told is None:
            return []
        return [Principal(one) for one in told["owners"] or [told["creator"]]]

    def submit(self, method: str, *values: Any, sender: Principal) -> None:
        """Submits a call of the factory, as a canister if the sender is one."""
        self.calls.append(self.fleet.factory.submit(method, *values, sender=sender))

    def pay(self, method: str, *values: Any, cycles: int) -> None:
        """Submits a call of the factory with cycles of the wallet."""
        wallet = self.fleet.wallet
        assert wallet is not None
        self.calls.append(self.network.submit(wallet.id, "pay", wallet.argument(method, *values, cycles=cycles)))

    # Acts ---------------------------------------------------------------------------------------------------

    def sponsor(self, who: int, what: int) -> None:
        creator = who % CREATORS
        key = public_key(creator) if what >= 6 else None
        asked = wish(zone_id=f"0x{what % 4:040x}", public_key=key)
        self.submit("create_zone", asked, sender=member(creator))

    def fund(self, who: int, what: int) -> None:
        kind = KINDS[who % 3]
        owners = [] if kind == "managed" else [member(10 + number).bytes for number in range(1 + who % OWNERS)]
        asked = wish(zone_id=f"0x{what % 4:040x}", custody=(kind, None), owners=owners)
        self.pay("create_zone", asked, cycles=3 * T if what < 8 else T)

    def ask(self, who: int, much: int) -> None:
        self.submit("cycles_manager_transferCycles", much * T // 5, sender=self.zone(who))

    def refill(self, who: int, _: int) -> None:
        zone = self.zone(who)
        for speaker in self.speakers(zone)[:1]:
            self.submit("cycles_manager_transferCyclesToCanister", zone.bytes, sender=speaker)

    def sweep(self, _who: int, _much: int) -> None:
        self.submit("start_sweep", sender=TEAM)

    def burn(self, who: int, much: int) -> None:
        zone = self.zone(who)
        if self.network.exists(zone):
            self.fleet.leave(zone, min(self.network.cycles(zone), much * T // 9))

    def stop(self, who: int, much: int) -> None:
        zone = self.network.ic.canisters.get(self.zone(who).bytes)
        if zone is not None and much < 5 and zone.status is Status.RUNNING:
            zone.status = Status.STOPPED
            self.stopped.add(zone.id)
        elif zone is not None and zone.id in self.stopped:
            zone.status = Status.RUNNING
            self.stopped.discard(zone.id)

    def delete(self, who: int, much: int) -> None:
        zone = self.network.ic.canisters.get(self.zone(who).bytes)
        if zone is not None and much > 6 and not zone.queue and not zone.contexts:
            accounts.drain(self.network.ic, zone)
            del self.network.ic.canisters[zone.id]

    def offer(self, who: int, what: int) -> None:
        zone = self.zone(who)
        owners = [member(10 + number).bytes for number in range(1 + what % OWNERS)]
        offer = {"canister": zone.bytes, "custody": (KINDS[what % 3], None), "owners": owners}
        for speaker in self.speakers(zone)[:1]:
            self.submit("offer_custody", offer, sender=speaker)

    def accept(self, who: int, what: int) -> None:
        told = self.fleet.factory.call("get_zone", self.zone(who).bytes)
        if told is not None and told["offered_custody"] is not None:
            offer = {"canister": told["canister"], "custody": told["offered_custody"], "owners": told["offered"]}
            self.submit("accept_custody", offer, sender=member(10 + what % OWNERS))

    def repay(self, who: int, much: int) -> None:
        zone = self.zone(who).bytes
        if much < 7:
            self.pay("repay", zone, cycles=much * T)
        else:
            self.submit("waive_repayment", zone, sender=TEAM)

    def take_over(self, who: int, what: int) -> None:
        """An owner who controls a zone changes who does, or what runs there."""
        zone = self.zone(who)
        owner = self.owner_of(zone)
        if owner is None:
            return
        if what < 3:
            self.network.update_settings(zone, sender=owner, controllers=[owner])
        elif what < 7:
            self.network.update_settings(zone, sender=owner, controllers=[owner, self.fleet.factory.id])
        else:
            argument = candid.encode([types.CANISTER_ID], [{"canister_id": self.fleet.factory.id.bytes}])
            self.network.reinstall(zone, RETURNER_WASM, argument, sender=owner)

    def retire(self, who: int, what: int) -> None:
        zone = self.zone(who)
        if what > 3:
            return
        for speaker in self.speakers(zone):
            self.submit("retire_child", zone.bytes, zone.to_str(), sender=speaker)

    def publish(self, _who: int, what: int) -> None:
        if what > 4 and len(self.released) <= len(self.code):
            version = FIRST_RELEASE + len(self.released)
            self.released.append(publish(self.fleet.factory, self.code[len(self.released) - 1], version))

    def upgrade_zone(self, who: int, _: int) -> None:
        values = self.zone(who).bytes, self.released[-1], b"DIDL\0\0"
        self.submit("upgrade_code", *values, sender=TEAM)

    def roll_out(self, who: int, what: int) -> None:
        plan = {
            "release": FIRST_RELEASE + len(self.released) - 1,
            "canary": who % 3,
            "batch": 1 + what % 4,
            "pause_on_failures": 2,
        }
        self.submit("start_rollout" if what < 7 else "resume_rollout", *([plan] if what < 7 else []), sender=TEAM)

    def upgrade_factory(self, _who: int, what: int) -> None:
        if what < 5:
            self._upgrade_as_the_tools_do()

    def pool(self, _: int, size: int) -> None:
        set_policy(self.fleet.factory, pool_size=size % 3)

    def save(self, _: int, much: int) -> None:
        """Has the battery keep all but some of what it holds."""
        self.keep(max(self.network.cycles(self.fleet.factory.id) - much * T, 5 * T))

    def keep(self, reserve: int) -> None:
        """Sets the reserve; payments of the same round may come before or after that."""
        self.chaos.reserve = min(self.chaos.reserve, reserve)
        self.fleet.set_policy(reserve=reserve)
        self.chaos.reserve = reserve

    def feed_battery(self, _: int, much: int) -> None:
        self.network.add_cycles(self.fleet.factory.id, much * T)
        self.added += much * T

    def settle_lost(self, _who: int, _what: int) -> None:
        for number in self.fleet.lost_creations()[:1]:
            found = self.fleet.orphans()
            answer = {"id": number, "canister": found[0] if found else None}
            self.submit("settle_creation", answer, sender=TEAM)

    def wait(self, _: int, much: int) -> None:
        self.network.advance(TIMES[much % len(TIMES)])

    # Running --------------------------------------------------------------------------------------------------

    def act(self, name: str, who: int, what: int) -> None:
        """Does one thing; that it is refused at once is no failure."""
        try:
            getattr(self, name)(who, what)
        except CallRejected:
            return

    def run(self) -> None:
        """Rounds until nothing is left to do; every call that was submitted is answered by then."""
        role = role_answer(400)
        for _ in range(ROUNDS):
            self.network.tick()
            self.network.answer_outcalls(role)
            self._note_controllers()
            if self.chaos.held is not None:
                self._hold()
            if self.network.ic.scheduler.busy or self.network.ic.outcalls.pending:
                continue
            self.calls = [call for call in self.calls if not self._is_answered(call)]
            if not self.calls:
                return
            # A child that does not stop, and timers that go on with what lost its answer.
            self.network.advance(15)
        raise AssertionError(f"{len(self.calls)} calls were not answered in {ROUNDS} rounds")

    def settle(self, seconds: int) -> None:
        """Lets time pass, a beat at a time."""
        for _ in range(-(-seconds // BEAT_SECONDS)):
            self.network.advance(BEAT_SECONDS)
            self.run()

    def _is_answered(self, call: Any) -> bool:
        """Whether a call has an answer, or had one that the platform forgot, as it does after five minutes."""
        ingress = self.network.ic.ingress
        return call not in ingress.entries or ingress[call].response is not None

    def _note_controllers(self) -> None:
        alone = [self.fleet.factory.id.bytes]
        self.once_held |= {one.id for one in self.fleet.made() if one.settings.controllers != alone}

    def _hold(self) -> None:
        """Upgrades the factory while a call of it is open: bare, or as the tools do it, or by force."""
        factory, wasm, fault = self.fleet.factory.id, self.fleet.build.wasm, self.chaos.fault
        if fault is Fault.UPGRADE_TRIED:
            with pytest.raises(CallRejected, match="calls in flight: stop the factory first"):
                self.network.upgrade(factory, wasm, sender=TEAM)
            self.chaos.release()
        elif fault is Fault.UPGRADED:
            self._upgrade_as_the_tools_do()
        else:
            self.network.upgrade(factory, wasm, sender=TEAM, skip_pre_upgrade=True)
            self.chaos.release()

    def _upgrade_as_the_tools_do(self) -> None:
        """Stops, upgrades and starts the factory; where a trap left a mark, in spite of the refusal."""
        factory, wasm = self.fleet.factory.id, self.fleet.build.wasm
        stopping = self.fleet.submit_about("stop_canister", factory)
        self.network.tick(2)
        for _ in range(ROUNDS):
            if self.network.status(stopping) is not None:
                break
            if self.chaos.held is not None:
                self.chaos.release()
            self.network.tick()
            self.network.answer_outcalls(role_answer(400))
            if not self.network.ic.scheduler.busy:
                self.network.advance(15)
        assert self.fleet.canister(factory).status is Status.STOPPED
        try:
            self.network.upgrade(factory, wasm, sender=TEAM)
        except CallRejected as refused:
            if "calls in flight: stop the factory first" not in refused.message:
                raise
            self.network.upgrade(factory, wasm, sender=TEAM, skip_pre_upgrade=True)
        self.network.start(factory, sender=TEAM)


ACTS = (
    *["sponsor"] * 4, *["fund"] * 3, *["ask"] * 3, *["refill"] * 2, "sweep", *["burn"] * 3, "stop", "delete",
    *["offer"] * 2, *["accept"] * 2, *["repay"] * 2, *["take_over"] * 2, *["retire"] * 2, "publish", "upgrade_zone",
    "roll_out", "upgrade_factory", "pool", "save", "feed_battery", "settle_lost", *["wait"] * 5,
)  # fmt: skip
"""What may happen, more often what there is more of."""
