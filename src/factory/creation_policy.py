"""Who may have a zone created at the battery's expense, how many a day, and what each gets.

Pure. Sponsored zones come out of two daily shares: that of callers whose zone's own contract names them an owner, and
a small one of everybody else, which cannot use up the first. Funded zones pay for themselves and have no share. Amounts
in cycles, times in ns.

    settings "creation_policy" u8 version (1) | u8 mode | u8 funded zones are open | u8 count, trusted nodes
                               (u16 length, UTF-8) | u128 for each figure in the order of FIELDS; one that is not
                               stored has its default
             "share NAME"      quotas of the shares (see `quota`)
    allowed  principal -> u64 since
"""

from kybra import StableBTreeMap, blob, text

from factory.policy import DAY, MOST_CYCLES, Field, figures_fault, pack_figures, unpack_figures
from factory.quota import Quota, decode_quota

OPEN = 1
ALLOWLIST = 2
CLOSED = 3
MODE_NAMES = {OPEN: "open", ALLOWLIST: "allowlist", CLOSED: "closed"}

T = 1_000_000_000_000
SECOND = 1_000_000_000
MAX_DAILY = 10_000
MAX_POOL = 20
MAX_ALLOWED = 1_000
# The platform keeps 0.5 T of what a canister is created with; the rest must last until it is installed and fuelled.
LEAST_CYCLES = T
MAX_NODES = 8
MAX_NODES_BYTES = 640
# The nodes of the zones' contracts in use today; others could answer whatever their owners like.
NODES = ["rpc.api.moonbeam.network/", "prenet.diode.io:8443/", "sapphire.oasis.io/"]
POLICY_KEY = "creation_policy"
TAKEN_UP = "taken up"

FIELDS = [
    Field("creation_cycles", 2 * T, LEAST_CYCLES, MOST_CYCLES),
    Field("daily_creations", 20, 0, MAX_DAILY),
    Field("daily_cycles", 40 * T, 0, MOST_CYCLES),
    Field("unproven_creations", 5, 0, MAX_DAILY),
    Field("unproven_cycles", 10 * T, 0, MOST_CYCLES),
    Field("pool_size", 0, 0, MAX_POOL),
    Field("lookup_cycles", 25_000_000_000, 0, MOST_CYCLES),
    Field("owner_role", 400, 1, 2**32 - 1),
    Field("daily_takings_up", 200, 0, MAX_DAILY),
    # What a creation costs the factory beside what the canister is born with: its calls and their instructions.
    Field("funded_fee", 20_000_000_000, 0, MOST_CYCLES),
    Field("freezing_seconds", 30 * DAY, DAY, 365 * DAY),
    Field("reserved_limit", T, 0, MOST_CYCLES),
    Field("wasm_memory_limit", 2**30, 2**28, 2**32),
]
NAMES = [field.name for field in FIELDS]


class CreationPolicy:
    """What admins set."""

    def __init__(self):
        self.mode = OPEN
        self.funded_open = True
        self.nodes = list(NODES)
        self.figures = unpack_figures(FIELDS, b"")

    def fault(self) -> str:
        """What is wrong with it, or ""."""
        fault = figures_fault(FIELDS, self.figures)
        for part, whole in (("unproven_creations", "daily_creations"), ("unproven_cycles", "daily_cycles")):
            if not fault and self.figures[part] > self.figures[whole]:
                fault = f"{part} is at most {whole} {self.figures[whole]}, got {self.figures[part]}"
        if not fault and (
            len(self.nodes) > MAX_NODES or sum(len(node.encode()) + 2 for node in self.nodes) > MAX_NODES_BYTES
        ):
            fault = f"trusted_nodes are at most {MAX_NODES}, with {MAX_NODES_BYTES} bytes in all"
        return fault

    def encode(self) -> bytes:
        """The policy as it is stored."""
        parts = [bytes([1, self.mode, self.funded_open, len(self.nodes)])]
        for node in self.nodes:
            raw = node.encode()
            parts.append(len(raw).to_bytes(2, "little") + raw)
        parts.append(pack_figures(FIELDS, self.figures))
        return b"".join(parts)


def decode_policy(stored: bytes) -> CreationPolicy:
    """The policy that `encode` wrote."""
    policy = CreationPolicy()
    policy.mode, policy.funded_open, count = stored[1], bool(stored[2]), stored[3]
    policy.nodes = []
    at = 4
    for _ in range(count):
        end = at + 2 + int.from_bytes(stored[at : at + 2], "little")
        policy.nodes.append(stored[at + 2 : end].decode())
        at = end
    policy.figures = unpack_figures(FIELDS, stored[at:])
    return policy


class CreationRules:
    """The policy, the shares' use and the allowlist over their stable maps."""

    def __init__(self, settings: StableBTreeMap[text, blob], allowed: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._allowed = allowed

    def policy(self) -> CreationPolicy:
        """The policy in force."""
        stored = self._settings.get(POLICY_KEY)
        return CreationPolicy() if stored is None else decode_policy(stored)

    def figure(self, name: str) -> int:
        """One figure of the policy in force."""
        return self.policy().figures[name]

    def change(self, policy: CreationPolicy) -> str:
        """Puts a policy into force, or says what is wrong with it."""
        fault = policy.fault()
        if not fault:
            self._settings.insert(POLICY_KEY, policy.encode())
        return fault

    def change_allowed(self, added: list[bytes], removed: list[bytes], now: int) -> str:
        """Takes principals off the allowlist, then puts others on it; says why not and changes nothing."""
        gone = [principal for principal in set(removed) if self.is_allowed(principal)]
        new = [principal for principal in set(added) if principal in gone or not self.is_allowed(principal)]
        count = self._allowed.len() - len(gone) + len(new)
        if count > MAX_ALLOWED:
            return f"the allowlist holds at most {MAX_ALLOWED} principals, these would be {count}"
        for principal in gone:
            self._allowed.remove(principal)
        for principal in new:
            self._allowed.insert(principal, now.to_bytes(8, "little"))
        return ""

    def is_allowed(self, principal: bytes) -> bool:
        """Whether a principal is on the allowlist."""
        return self._allowed.contains_key(principal)

    def allowed(self, after: bytes | None, most: int) -> list[bytes]:
        """Principals on the allowlist in ascending order that come after one, at most so many."""
        return [key for key in sorted(self._allowed.keys()) if after is None or key > after][:most]

    def caller_fault(self, creator: bytes) -> str:
        """Why nobody creates a sponsored zone for this caller, or ""."""
        mode = self.policy().mode
        if mode == CLOSED:
            return "sponsored creations are closed: send the price along as cycles"
        if mode == ALLOWLIST and not self.is_allowed(creator):
            return "sponsored creations are for principals on the allowlist: send the price along as cycles"
        return ""

    def share_fault(self, proven: bool, now: int) -> str:
        """Why a share has no room for another creation, or ""."""
        count, cycles = self.share(proven)
        name = "proven owners" if proven else "callers without a proof"
        if count.left(now) == 0:
            wait = (count.ends_at - now) // SECOND
            return f"the {count.limit} creations of this day for {name} are used up: try again in {wait} seconds"
        amount = self.figure("creation_cycles")
        if cycles.left(now) < amount:
            wait = (cycles.ends_at - now) // SECOND
            return (
                f"of the {cycles.limit} cycles of this day for {name}, {cycles.left(now)} are left "
                f"and a creation takes {amount}: try again in {wait} seconds"
            )
        return ""

    def take(self, proven: bool, amount: int, now: int) -> tuple[int, int]:
        """Takes a creation from its share; returns the windows it was taken in."""
        count, cycles = self.share(proven)
        count.turn(now)
        cycles.turn(now)
        windows = count.take(1), cycles.take(amount)
        self._store(proven, count, cycles)
        return windows

    def give_back(self, proven: bool, amount: int, windows: tuple[int, int]) -> None:
        """Returns a creation that came to nothing to its share, in the windows it was taken from."""
        count, cycles = self.share(proven)
        count.give_back(1, windows[0])
        cycles.give_back(amount, windows[1])
        self._store(proven, count, cycles)

    def admit_taking_up(self, now: int) -> str:
        """Counts that a creation is taken up once more, or says why it must wait: each try costs the factory cycles."""
        stored = self._settings.get(share_key(TAKEN_UP))
        quota = Quota(0, DAY) if stored is None else decode_quota(stored)
        quota.limit = self.figure("daily_takings_up")
        if quota.left(now) == 0:
            return f"{quota.limit} creations were taken up again this day: try again tomorrow"
        quota.take(1)
        self._settings.insert(share_key(TAKEN_UP), quota.encode())
        return ""

    def share(self, proven: bool) -> tuple[Quota, Quota]:
        """Creations and cycles of a share, as the policy limits them."""
        figures = self.policy().figures
        unproven = figures["unproven_creations"], figures["unproven_cycles"]
        rest = figures["daily_creations"] - unproven[0], figures["daily_cycles"] - unproven[1]
        limits = rest if proven else unproven
        quotas = []
        for name, limit in zip(share_names(proven), limits, strict=True):
            stored = self._settings.get(share_key(name))
            quota = Quota(limit, DAY) if stored is None else decode_quota(stored)
            quota.limit = limit
            quotas.append(quota)
        return quotas[0], quotas[1]

    def _store(self, proven: bool, count: Quota, cycles: Quota) -> None:
        for name, quota in zip(share_names(proven), (count, cycles), strict=True):
            self._settings.insert(share_key(name), quota.encode())


def share_names(proven: bool) -> list[str]:
    """The names under which a share's two quotas are kept."""
    return ["proven count", "proven cycles"] if proven else ["unproven count", "unproven cycles"]


def share_key(name: str) -> str:
    """The settings key of a share's quota."""
    return f"share {name}"
