"""The zone's Candid interface: what messages take, the limits of the store and the quotas of members."""

from kybra import ic, nat, nat32, nat64, query, update

from zone_canister.candid_types import AckResult, EvictionInfo, MemberQuota, MessageLimits, NatResult, QuotaUse
from zone_canister.context import messages, quotas, require_admin, require_member, seconds
from zone_canister.message_reader import Reader
from zone_canister.upkeep import certify, work_soon


@query
def get_message_usage() -> nat64:
    """Bytes that messages and their index take; `docs/storage.md` has the formula."""
    return messages.usage()


@query
def get_message_count() -> nat:
    """How many messages are stored."""
    return Reader(messages, seconds()).count


@update(guard=require_admin)
def set_message_limits(limits: MessageLimits) -> AckResult:
    """Sets the limits that are given; 0 lifts one, but for max_bytes. What exceeds them is evicted step by step."""
    if messages.expire(seconds()):
        certify()
    fault = messages.limits.change(limits["max_bytes"], limits["max_messages"], limits["max_age_seconds"])
    if fault:
        return {"err": fault}
    messages.note_pending(seconds())
    work_soon()
    return {"ok": None}


@query
def get_message_limits() -> MessageLimits:
    """The limits of the message store, null for none."""
    limits = messages.limits
    return {
        "max_bytes": limits.max_bytes,
        "max_messages": limits.max_messages or None,
        "max_age_seconds": limits.max_age_seconds or None,
    }


@query
def get_eviction_info() -> EvictionInfo:
    """What was evicted ever, the first id kept, and what waits to be evicted and since when (s)."""
    state_ = messages.state
    return {
        "messages_evicted": state_.evicted,
        "bytes_evicted": state_.evicted_bytes,
        "first_id": state_.first_id,
        "pending_bytes": messages.pending_bytes(seconds()),
        "pending_since": state_.pending_since or None,
    }


@update(guard=require_admin)
def prune_messages(up_to_id: nat32) -> NatResult:
    """Removes all messages up to an id and returns how many that were; their ids are never used again."""
    before = messages.state.first_id
    messages.move_first(min(up_to_id, messages.state.last_id) + 1)
    messages.note_pending(seconds())
    certify()
    work_soon()
    return {"ok": messages.state.first_id - before}


@update(guard=require_admin)
def set_member_quota(quota: MemberQuota) -> AckResult:
    """Sets how many messages and bytes one member may add in any 24 hours, as far as it is given."""
    fault = quotas.change(quota["max_messages"], quota["max_bytes"])
    return {"err": fault} if fault else {"ok": None}


@query
def get_member_quota() -> MemberQuota:
    """How many messages and bytes one member may add in any 24 hours."""
    return {"max_messages": quotas.max_messages, "max_bytes": quotas.max_bytes}


@query(guard=require_member)
def get_my_quota_use() -> QuotaUse:
    """What the caller has added within the window of his quota."""
    used_messages, used_bytes = quotas.used(ic.caller().bytes, seconds())
    return {"messages": used_messages, "bytes": used_bytes}
