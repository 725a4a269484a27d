#!/usr/bin/env python3
"""Looks zone canisters up on the platform and on their chains: canister_info.py --all | CANISTER, `zones fleet info`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

sys.exit(main(["fleet", "info", *sys.argv[1:]]))
