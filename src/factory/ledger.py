"""The cycles ledger, as far as the factory uses it (ICRC-1): balance, fee, transfer.

Declarations only. The names of the contract's types are the contract's.
"""

from kybra import Opt, Principal, Record, Service, Variant, blob, nat, nat64, null, service_query, service_update, text


class LedgerAccount(Record):
    owner: Principal
    subaccount: Opt[blob]


class TransferArg(Record):
    to: LedgerAccount
    amount: nat
    fee: Opt[nat]
    memo: Opt[blob]
    from_subaccount: Opt[blob]
    created_at_time: Opt[nat64]


class GenericLedgerError(Record):
    message: text
    error_code: nat


class BadBurnError(Record):
    min_burn_amount: nat


class DuplicateError(Record):
    duplicate_of: nat


class BadFeeError(Record):
    expected_fee: nat


class CreatedInFutureError(Record):
    ledger_time: nat64


class InsufficientFundsError(Record):
    balance: nat


class TransferError(Variant, total=False):
    GenericError: GenericLedgerError
    TemporarilyUnavailable: null
    BadBurn: BadBurnError
    Duplicate: DuplicateError
    BadFee: BadFeeError
    CreatedInFuture: CreatedInFutureError
    TooOld: null
    InsufficientFunds: InsufficientFundsError


class TransferResult(Variant, total=False):
    Ok: nat
    Err: TransferError


class LedgerService(Service):
    @service_query
    def icrc1_balance_of(self, account: LedgerAccount) -> nat: ...

    @service_query
    def icrc1_fee(self) -> nat: ...

    @service_update
    def icrc1_transfer(self, arg: TransferArg) -> TransferResult: ...
