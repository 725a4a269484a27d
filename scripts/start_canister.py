#!/usr/bin/env python3
"""Starts a stopped zone canister: start_canister.py CANISTER, which is `zones fleet start`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

sys.exit(main(["fleet", "start", *sys.argv[1:]]))
