#!/usr/bin/env python3
"""Refills zone canisters from the battery: refill.py CANISTER..., which is `zones fleet refill`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

sys.exit(main(["fleet", "refill", *sys.argv[1:]]))
