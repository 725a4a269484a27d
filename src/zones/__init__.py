"""Host-side library and command line for operators and developers of zones.

Talks to any Internet Computer network over HTTP; holds no canister code and runs no Wasm itself.
"""
