"""What a PocketIC client may ask for when it creates an instance or a gateway, and what is refused with the reason.

Reads JSON only: `instances` creates what was asked for.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localnet.clock import GENESIS
from localnet.errors import BadRequest
from localnet.network import LISTED_KINDS, NAMED_KINDS
from localnet.pocketic_json import field, optional, shortened

MAX_SUBNETS = 100
_INERT = {"icp_config": ("Disabled",), "incomplete_state": ("Disabled", "Enabled")}
"""Values that ask for nothing this network doesn't do anyway: no kill leaves its saved state incomplete."""


@dataclass(frozen=True)
class GatewayConfiguration:
    """Where an HTTP gateway listens."""

    address: str
    port: int
    """0 for a free one."""


@dataclass(frozen=True)
class Configuration:
    """A new instance."""

    kinds: list[str]
    """Kinds of its subnets."""
    auto_progress: bool
    start: int | None
    """Its first time in nanoseconds."""
    gateway: GatewayConfiguration | None
    state_dir: Path | None
    """Folder its state is kept in; if there is one in it, its subnets count and not the kinds, which may be empty."""


def configuration(body: Any) -> Configuration:
    """The instance a request asks for. Raises `BadRequest` naming what cannot be had."""
    kinds = _kinds(field(body, "subnet_config_set", dict))
    state_dir = optional(body, "state_dir", str)
    if not kinds and state_dir is None:
        raise BadRequest("SubnetConfigSet must contain at least one subnet")
    if state_dir is not None and (not state_dir or "\0" in state_dir):
        raise BadRequest(f"state_dir is {shortened(state_dir)}, it must be the path of a folder")
    _refuse_options(body)
    gateway = optional(body, "http_gateway_config", dict)
    auto_progress, start = _initial_time(optional(body, "initial_time", dict))
    where = None if gateway is None else gateway_configuration(gateway)
    return Configuration(kinds, auto_progress, start, where, None if state_dir is None else Path(state_dir))


def _kinds(config: dict[str, Any]) -> list[str]:
    kinds: list[str] = []
    for name, kind in NAMED_KINDS.items():
        spec = config.get(name)
        if spec is not None and spec is not False:
            _check_spec(name, spec)
            kinds.append(kind)
    for name, kind in LISTED_KINDS.items():
        wanted = config.get(name)
        count = wanted if type(wanted) is int else len(optional(config, name, list) or [])
        if not 0 <= count <= MAX_SUBNETS:
            raise BadRequest(f"{name} asks for {shortened(count)} subnets, it may be 0 to {MAX_SUBNETS}")
        for spec in wanted if isinstance(wanted, list) else []:
            _check_spec(name, spec)
        kinds += [kind] * count
    others = [name for name, value in config.items() if value and name not in (*NAMED_KINDS, *LISTED_KINDS)]
    if others:
        raise BadRequest(f"subnets of kind {shortened(others[0])} are not supported")
    return kinds


def _check_spec(name: str, spec: Any) -> None:
    if spec is True:
        return
    if not isinstance(spec, dict):
        raise BadRequest(f"the subnet {name} is {shortened(spec)}, it must be a SubnetSpec")
    state, instructions = spec.get("state_config", "New"), spec.get("instruction_config", "Production")
    if state != "New":
        raise BadRequest(
            f"state_config of {name} is {shortened(state)}, only New is supported: the state of a replica or of a "
            "PocketIC server cannot be read (localnet keeps and loads a whole network, with state_dir)"
        )
    if instructions != "Production":
        raise BadRequest(
            f"instruction_config of {name} is {shortened(instructions)}, only Production is supported: start the "
            "server with --instruction-limit-update and its siblings"
        )


def _refuse_options(body: dict[str, Any]) -> None:
    """Raise `BadRequest` for options that would change what a canister sees, if they did anything."""
    for name in ("icp_features", "icp_config"):
        for option, value in (optional(body, name, dict) or {}).items():
            if value is not None and value not in _INERT.get(name, ()):
                raise BadRequest(f"{name} are not supported: {shortened(option)}")
    for name in ("bitcoind_addr", "dogecoind_addr", "incomplete_state", "mainnet_nns_subnet_id"):
        value = body.get(name)
        if value and value not in _INERT.get(name, ()):
            raise BadRequest(f"{name} is not supported")


def _initial_time(initial: dict[str, Any] | None) -> tuple[bool, int | None]:
    """Whether to start with auto-progress, and the first time."""
    if initial is None:
        return False, None
    if "Timestamp" in initial:
        start = nanoseconds(initial["Timestamp"])
        if start < GENESIS:
            raise BadRequest(f"initial_time is {start}, it must not be before {GENESIS}")
        return False, start
    progress = field(initial, "AutoProgress", dict)
    check_auto_progress(progress)
    return True, None


def nanoseconds(body: Any) -> int:
    """A time in nanoseconds since 1970."""
    value = field(body, "nanos_since_epoch", int)
    if not 0 <= value < 1 << 64:
        raise BadRequest(f"nanos_since_epoch is {shortened(value)}, it must be a 64-bit number")
    return value


def check_auto_progress(body: Any) -> None:
    """Raise `BadRequest` for an artificial delay: rounds come when there is work."""
    delay = optional(body, "artificial_delay_ms", int)
    if delay:
        raise BadRequest(f"artificial_delay_ms is {shortened(delay)}, delays between rounds are not supported")


def gateway_configuration(body: dict[str, Any]) -> GatewayConfiguration:
    """Where a gateway listens. Raises `BadRequest` for HTTPS, custom domains and impossible addresses."""
    if body.get("https_config") is not None:
        raise BadRequest("https_config is not supported: the gateway speaks HTTP only")
    domains = [domain for domain in optional(body, "domains", list) or [] if domain != "localhost"]
    if domains:
        raise BadRequest(f"domains is {shortened(domains)}, only localhost is supported")
    port = optional(body, "port", int) or 0
    if not 0 <= port < 1 << 16:
        raise BadRequest(f"port is {shortened(port)}, it must be 0 to 65535")
    address = optional(body, "ip_addr", str) or "127.0.0.1"
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise BadRequest(f"ip_addr is {shortened(address)}, it must be an IP address") from error
    return GatewayConfiguration(address, port)
