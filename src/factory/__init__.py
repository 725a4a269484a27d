"""The factory canister: creates the zone canisters, indexes them, fuels them and keeps their code."""
