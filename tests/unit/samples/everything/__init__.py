"""A canister that uses everything the rules allow. Not installed anywhere: tests build it."""
