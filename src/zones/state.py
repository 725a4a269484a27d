"""The state folder (`.zones` by default): identities, zone keys, what was deployed where, the local network's record.

Not for anything that must survive losing the folder, except the two kinds of keys: back those up.

| path | content |
|---|---|
| `identities/NAME.pem` | an identity's private key, mode 0600 |
| `keys/ZONE_ID.pem` | a zone's key file, mode 0600; shared among members |
| `heads/CANISTER-KEY.json` | the last head of a zone's messages that `zones read --verify` proved, by root key |
| `upgrades/CANISTER-KEY.json` | an upgrade of a zone by its owner, while it is under way |
| `deployments.json` | per network URL (`stopped`: the local network when it is not running): the factory, its zones |
| `network.json` | the local network started from here, while it runs: processes, URL |
| `localnet/` | the local network's state, see docs/localnet.md |
| `roles.json` | roles the local membership contract answers with |
| `logs/` | what the local network's processes print |
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from zones import checks
from zones.encryption import ZoneKey
from zones.errors import UserError
from zones.identity import Identity

DEFAULT_FOLDER = ".zones"
STATE_VARIABLE = "ZONES_STATE"
_Record = TypeVar("_Record")


@dataclass(frozen=True)
class ZoneRecord:
    """A zone made from this state folder: its id, its canister and the host of its membership contract."""

    zone_id: str
    canister: str
    rpc_host: str


class State:
    """One state folder; made when something is first kept in it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.roles_file = self.root / "roles.json"
        self.network_file = self.root / "network.json"
        self.localnet = self.root / "localnet"
        self.logs = self.root / "logs"
        self._deployments_file = self.root / "deployments.json"

    @classmethod
    def locate(cls, option: str | None) -> State:
        """Return the folder named by the option, the environment's ZONES_STATE, or `.zones` here."""
        return cls(Path(option or os.environ.get(STATE_VARIABLE) or DEFAULT_FOLDER))

    def identity_path(self, name: str) -> Path:
        """Return where the identity `name` is kept."""
        return self.root / "identities" / f"{checks.name(name)}.pem"

    def identity(self, name: str, *, create: bool = False) -> Identity:
        """Return the identity `name`, made first when it is missing and `create` is set."""
        path = self.identity_path(name)
        if path.exists():
            return Identity.load(path)
        if not create:
            known = sorted(file.stem for file in path.parent.glob("*.pem"))
            listed = f"known are: {', '.join(known)}" if known else "`zones join --identity NAME` makes one"
            raise UserError(f"there is no identity {name!r} in {self.root}", listed)
        made = Identity.generate()
        made.save(path)
        return made

    def identities(self) -> dict[str, Identity]:
        """Return all identities kept here by name; a file that is none is left out."""
        found = {}
        for path in sorted((self.root / "identities").glob("*.pem")):
            try:
                found[path.stem] = self.identity(path.stem)
            except UserError:
                continue
        return found

    def key_path(self, zone_id: str) -> Path:
        """Return where the key file of a zone is kept."""
        return self.root / "keys" / f"{checks.zone_id(zone_id)}.pem"

    def zone_key(self, zone_id: str) -> ZoneKey:
        """Return a zone's key pair."""
        return ZoneKey.load(self.key_path(zone_id))

    def head_path(self, canister: str, root_key: bytes) -> Path:
        """Return where the last head seen of a zone is kept, on the network with this root key."""
        return self.root / "heads" / f"{canister}-{_key_name(root_key)}.json"

    def upgrade_path(self, canister: str, root_key: bytes) -> Path:
        """Return where an upgrade of a zone is noted while it is under way, on the network with this root key."""
        return self.root / "upgrades" / f"{canister}-{_key_name(root_key)}.json"

    def forget_zones(self, root_key: bytes) -> None:
        """Forget the heads seen and the upgrades begun of zones on a network that is gone."""
        for folder in ("heads", "upgrades"):
            for path in (self.root / folder).glob(f"*-{_key_name(root_key)}.*"):
                path.unlink(missing_ok=True)

    def factory(self, url: str) -> str | None:
        """Return the principal of the factory deployed to the network at `url`."""
        factory = self._deployment(url).get("factory")
        if not isinstance(factory, str | None):
            raise UserError(f"{self._deployments_file} holds no factory: {factory!r}", "mend or remove it")
        return factory

    def set_factory(self, url: str, canister: str) -> None:
        """Keep the factory's principal."""
        self._change(url, {"factory": canister})

    def zones(self, url: str) -> list[ZoneRecord]:
        """Return the zones made on the network at `url`, oldest first."""
        try:
            return [record_of(ZoneRecord, record) for record in self._deployment(url).get("zones", [])]
        except TypeError as error:
            raise UserError(f"{self._deployments_file} holds no zones: {error}", "mend or remove it") from error

    def add_zone(self, url: str, zone: ZoneRecord) -> None:
        """Keep a zone; the latest one is what commands use when none is named."""
        others = [vars(known) for known in self.zones(url) if known.canister != zone.canister]
        self._change(url, {"zones": [*others, vars(zone)]})

    def forget(self, url: str) -> None:
        """Forget what was deployed to a network that is gone."""
        deployments = self.read(self._deployments_file)
        if deployments.pop(url, None) is not None:
            self.write(self._deployments_file, deployments)

    def move(self, before: str, after: str) -> None:
        """Keep what was deployed to the network at the URL `before` under `after`, in place of what was there."""
        deployments = self.read(self._deployments_file)
        moved = deployments.pop(before, None)
        deployments.pop(after, None)
        if moved is not None:
            deployments[after] = moved
        self.write(self._deployments_file, deployments)

    def find_zone(self, url: str, named: str) -> ZoneRecord | None:
        """Return the zone with this zone id or canister, None when it was not made from here."""
        matching = (zone for zone in self.zones(url) if named.lower() in (zone.zone_id, zone.canister))
        return next(matching, None)

    def zone(self, url: str, named: str | None) -> ZoneRecord:
        """Return the zone with this zone id or canister, the latest when none is named."""
        zones = self.zones(url)
        if named is None and not zones:
            raise UserError(f"no zone was created on {url} yet", "run `zones create`, or name one with --zone")
        found = zones[-1] if named is None else self.find_zone(url, named)
        if found is None:
            known = ", ".join(zone.zone_id for zone in zones) or "none"
            raise UserError(f"{named!r} is no zone on {url}", f"known zones: {known}")
        return found

    def network(self) -> dict[str, Any]:
        """Return the record of the local network, empty when there is none."""
        return self.read(self.network_file)

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Write a JSON file of this folder in one step."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(f".{os.getpid()}.new")
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)

    def _deployment(self, url: str) -> dict[str, Any]:
        deployment = self.read(self._deployments_file).get(url, {})
        if not isinstance(deployment, dict):
            raise UserError(f"{self._deployments_file} holds no deployment for {url}", "mend or remove it")
        return deployment

    def _change(self, url: str, changes: dict[str, Any]) -> None:
        deployments = self.read(self._deployments_file)
        deployments[url] = {**self._deployment(url), **changes}
        self.write(self._deployments_file, deployments)

    def read(self, path: Path) -> dict[str, Any]:
        """Return what a JSON file of this folder holds, nothing where there is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UserError(f"{path} can't be read: {error}", "mend or remove it") from error
        if not isinstance(content, dict):
            raise UserError(f"{path} holds no JSON object", "mend or remove it")
        return content


def record_of(kind: type[_Record], content: Any) -> _Record:
    """Return the dataclass that a JSON file holds; raises TypeError where a field is missing or of another type."""
    record = kind(**content)
    for name, declared in get_type_hints(kind).items():
        value = getattr(record, name)
        if not isinstance(value, get_origin(declared) or declared):
            raise TypeError(f"{name} is {value!r}")
    return record


def _key_name(root_key: bytes) -> str:
    """Return what stands for a root key in file names."""
    return hashlib.sha256(root_key).hexdigest()[:8]
