"""Canister code that the zone canister and the factory share.

Not a general library: a module belongs here once both canisters import it. Like all canister code it imports Kybra
and itself alone.
"""
