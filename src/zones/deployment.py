"""What an operator does once: build, install the factory, publish the zone's Wasm, create and join zones.

Each step is a function that can be repeated: what is there already is left as it is. Not for printing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localnet import candid
from localnet.principal import from_text, to_text
from zones import checks, management
from zones.agent import Agent, IcAgent
from zones.creations import Creations, Wish
from zones.encryption import ZoneKey
from zones.errors import CANISTER_REJECT, RejectedError, UserError
from zones.factory import CreationShares, Factory
from zones.identity import Identity, address_of, principal_of
from zones.membership import Roles
from zones.network import IC_URL, contract_of
from zones.state import State, ZoneRecord
from zones.zone import ADMIN_ROLE, MEMBER_ROLE, Zone

DEFAULT_CYCLES = 20_000_000_000_000
"""Cycles a factory is created with on a local network; a zone takes 2 T of them."""

T = 10**12
LOCAL_SHARES = CreationShares(1_000, 10_000 * T, 500, 5_000 * T)
"""Zones a day and their cycles on a local network, half of them without a proof: no strangers spend its battery."""
NOBODYS_SHARES = (CreationShares(20, 40 * T, 5, 10 * T), CreationShares(1_000, 10_000 * T, 1_000, 10_000 * T))
"""Shares that nobody chose: a factory's own, and those that local factories were given before owners had a share."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, bytes done, bytes in all)."""


@dataclass(frozen=True)
class Built:
    """A built canister: its gzipped Wasm and its version."""

    wasm: bytes
    version: int

    @property
    def digest(self) -> bytes:
        """SHA-256 of the Wasm, its module hash once installed."""
        return hashlib.sha256(self.wasm).digest()


@dataclass(frozen=True)
class Deployed:
    """A factory ready to make zones."""

    factory: str
    factory_wasm: Built
    zone_wasm: Built
    installed: bool
    """Whether the factory's code was installed or upgraded (False: it ran already)."""
    published: bool
    """Whether the zone's Wasm was published (False: it was the release already)."""
    other_shares: CreationShares | None = None
    """The shares of a local network's factory where somebody chose others than a new one has: they are kept."""


@dataclass(frozen=True)
class Joined:
    """A member as the zone now knows him."""

    address: bytes
    principal: bytes
    role: int


def build(name: str, builder: str) -> Built:
    """Build a canister, or take the build that is there already; raises UserError with what is wrong."""
    import canister_build  # only deploying needs it

    try:
        artifact = canister_build.build(name, builder=builder)
    except canister_build.BuildError as error:
        raise UserError(f"{name} can't be built: {error}", f"see `python -m canister_build {name}`") from error
    version = json.loads(artifact.manifest.read_text(encoding="utf-8"))["version"]
    if version is None:
        raise UserError(f"the source of {name} has no version", "give it a constant VERSION")
    return Built(artifact.wasm_gz.read_bytes(), version)


def deploy(
    agent: IcAgent,
    state: State,
    factory_wasm: Built,
    zone_wasm: Built,
    *,
    cycles: int = DEFAULT_CYCLES,
    factory: str | None = None,
    notes: str = "",
    progress: Progress,
) -> Deployed:
    """Create the factory (or take the named or recorded one), install or upgrade its code, publish the zone's Wasm."""
    canister = known_factory(state, agent.url, factory)
    if canister is None:
        canister = management.create_canister(agent, cycles)
        state.set_factory(agent.url, to_text(canister))  # at once: a failure below must not lose it
    installed = install_factory(agent, canister, factory_wasm, progress)
    state.set_factory(agent.url, to_text(canister))
    client = Factory(agent, canister)
    try:
        client.refresh_controllers()
    except RejectedError as error:
        # They are read at most once in 5 seconds; those read before still count.
        if error.code != CANISTER_REJECT:
            raise
    if agent.sender() not in client.admins():
        client.add_admin(agent.sender())
    other_shares = None if contract_of(state, agent.url) is None else _set_shares(client)
    release = client.release()
    published = release is None or release["wasm_hash"] != zone_wasm.digest
    if published:
        client.upload_release(zone_wasm.wasm, lambda done, size: progress("zone Wasm", done, size))
        client.publish_release(zone_wasm.version, zone_wasm.digest, notes)
    return Deployed(to_text(canister), factory_wasm, zone_wasm, installed, published, other_shares)


def _set_shares(client: Factory) -> CreationShares | None:
    """Give a local factory its shares of creations unless somebody chose others; returns those."""
    shares = client.creation_shares()
    if shares in NOBODYS_SHARES:
        client.set_creation_shares(LOCAL_SHARES)
    elif shares != LOCAL_SHARES:
        return shares
    return None


def known_factory(state: State, url: str, named: str | None) -> bytes | None:
    """Return the factory named or deployed before, None when a local network may create one."""
    known = named or state.factory(url)
    if known is None and url == IC_URL:
        raise UserError(
            "mainnet gives no cycles away for a new factory",
            "create a canister with dfx or the cycles ledger and name it with --factory",
        )
    return checks.principal(known) if known else None


def install_factory(agent: Agent, canister: bytes, wasm: Built, progress: Progress) -> bool:
    """Install the factory's code, or upgrade it while it is stopped; returns False where it runs that code already."""
    status = management.canister_status(agent, canister)
    module, running = status["module_hash"], status["status"][0] == "running"
    if module == wasm.digest:
        if not running:  # what deployed it was cut off
            management.start(agent, canister)
        return False
    report: management.Progress = lambda done, size: progress("factory Wasm", done, size)  # noqa: E731
    # It refuses an upgrade while its calls are open, and they end while it stops. Only then does nothing that it began
    # rely on its chunk store either, through which large code goes and which is cleared afterwards.
    try:
        management.stop(agent, canister)
        mode = "upgrade" if module else "install"
        management.install(agent, canister, wasm.wasm, candid.encode([], []), mode=mode, progress=report)
    finally:
        management.start(agent, canister)
    return True


def create_zone(
    agent: IcAgent,
    state: State,
    owner: Identity,
    *,
    factory: bytes,
    zone_id: str | None = None,
    rpc_host: str | None = None,
    rpc_path: str = "/",
    call_token: bytes | None = None,
    owners: Sequence[bytes] = (),
    prove: bool = False,
) -> ZoneRecord:
    """Ask the factory for a zone; make its key file; on the local network make `owner` its contract's admin.

    Without `zone_id` and `rpc_host` (local network only) the zone's id is the address of its new key. `owners` speak
    for the zone in place of its creator; with `prove` the factory asks the contract whether `owner` is one of its own.
    """
    local = contract_of(state, agent.url)
    if local is None and (zone_id is None or rpc_host is None):
        raise UserError(
            "a zone needs its membership contract",
            "name it with --zone-id and --rpc-host (only a network of `zones network start` has one of its own)",
        )
    key = ZoneKey.generate()
    zone_id = zone_id or "0x" + address_of(key.uncompressed).hex()
    if local is not None:
        roles = Roles.load(state.roles_file)
        roles.set_role(zone_id, owner.address, ADMIN_ROLE)
        roles.set_token(zone_id, call_token)
        roles.save(state.roles_file)
    host = rpc_host or (local.rpc_host if local else "")
    public_key = owner.public_key if prove else None
    canister = Creations(agent, factory).create(Wish(zone_id, host, rpc_path, call_token, owners, public_key))
    if not state.key_path(zone_id).exists():
        key.save(state.key_path(zone_id))
    record = ZoneRecord(zone_id, to_text(canister), host)
    state.add_zone(agent.url, record)
    return record


def join(agent: IcAgent, state: State, zone: ZoneRecord, public_key: bytes, role: int | None) -> Joined:
    """Have the zone look up the role of a public key in its contract.

    On the local network the contract first gets `role` for it (a member's when it has none); elsewhere roles are given
    in the contract and `role` must be None. Raises RejectedError when the contract gives no role.
    """
    local = contract_of(state, agent.url)
    address, principal = address_of(public_key), principal_of(public_key)
    client = Zone(agent, from_text(zone.canister))
    if local is None and role is not None:
        raise UserError(
            f"role {role} can't be given here", "roles come from the zone's contract: give it there, then join"
        )
    if local is not None:
        given = _give_role(state, zone.zone_id, address, role)
        if client.role(principal) == given:  # the zone looks a key up once a minute: don't spend that for nothing
            return Joined(address, principal, given)
    found = client.update_role(public_key)
    if found == 0:
        raise RejectedError(
            f"the contract of {zone.zone_id} gives 0x{address.hex()} no role", "add it there, then join again"
        )
    return Joined(address, principal, found)


def _give_role(state: State, zone_id: str, address: bytes, role: int | None) -> int:
    roles = Roles.load(state.roles_file)
    known = roles.role(zone_id, address)
    given = role if role is not None else known or MEMBER_ROLE
    if given != known:
        roles.set_role(zone_id, address, given)
        roles.save(state.roles_file)
    return given
