#!/usr/bin/env python3
"""Brings zone canisters to the release: upgrade_canister.py CANISTER..., which is `zones fleet upgrade`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

sys.exit(main(["fleet", "upgrade", *sys.argv[1:]]))
