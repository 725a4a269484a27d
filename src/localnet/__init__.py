"""An Internet Computer on one machine: runs canister Wasm and speaks PocketIC's and the IC's HTTP interfaces.

It knows nothing about what the canisters do and is no replica: no consensus, one process, one state.
"""
