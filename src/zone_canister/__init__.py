"""The zone availability canister: keeps one zone's messages while its members are offline."""
