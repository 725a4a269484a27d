"""Takes the cycles that were sent to the factory's account on the cycles ledger and sends them on.

Flows over the ledger, the one canister beside the management canister and the zones that the factory calls; the
contract wants it so. One refund at a time. The receiver is the contract's principal until the factory's controllers
name another.

    settings "refund-account"  a principal
    settings "cycles-ledger"   a principal, none for mainnet's
"""

from kybra import Async, Opt, Principal, Tuple, ic, text

from factory.admins import FIRST_ADMIN
from factory.context import open_calls
from factory.ledger import LedgerService, TransferResult
from factory.principals import to_principal
from factory.state import settings_map

CYCLES_LEDGER = Principal.from_str("um5iw-rqaaa-aaaaq-qaaba-cai")
ACCOUNT_KEY = "refund-account"
LEDGER_KEY = "cycles-ledger"
OPEN_KEY = b"refund"

Refunded = Tuple[Opt[TransferResult], text]


def refund_account() -> bytes:
    """Who gets what is refunded."""
    return settings_map.get(ACCOUNT_KEY) or FIRST_ADMIN.bytes


def cycles_ledger() -> bytes:
    """The canister that is asked for the balance."""
    return settings_map.get(LEDGER_KEY) or CYCLES_LEDGER.bytes


def store_refund_account(account: bytes, ledger: bytes | None) -> None:
    """Names another receiver, and another ledger or mainnet's."""
    settings_map.insert(ACCOUNT_KEY, account)
    settings_map.insert(LEDGER_KEY, CYCLES_LEDGER.bytes if ledger is None else ledger)


def send_refund() -> Async[Refunded]:
    """Transfers the balance less the fee; the ledger's answer, none when the balance does not exceed the fee."""
    if open_calls.running(OPEN_KEY, ic.time()):
        return None, "a refund is under way: try again in a minute"
    open_calls.start(OPEN_KEY, ic.time())
    result = yield transfer_balance()
    open_calls.finish(OPEN_KEY)
    return result


def transfer_balance() -> Async[Refunded]:
    """What `send_refund` does between its marks."""
    ledger = LedgerService(to_principal(cycles_ledger()))
    answer = yield ledger.icrc1_balance_of({"owner": ic.id(), "subaccount": None})
    if answer.Err is not None:
        return None, f"reading the balance on the cycles ledger failed: {answer.Err}"
    balance = answer.Ok
    if balance == 0:
        return None, ""
    answer = yield ledger.icrc1_fee()
    if answer.Err is not None:
        return None, f"reading the fee of the cycles ledger failed: {answer.Err}"
    fee = answer.Ok
    if balance <= fee:
        return None, ""
    answer = yield ledger.icrc1_transfer(
        {
            "to": {"owner": to_principal(refund_account()), "subaccount": None},
            "amount": balance - fee,
            "fee": None,
            "memo": None,
            "from_subaccount": None,
            "created_at_time": None,
        }
    )
    if answer.Err is not None:
        return None, f"the transfer on the cycles ledger failed: {answer.Err}"
    return answer.Ok, ""
