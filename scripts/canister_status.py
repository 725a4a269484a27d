#!/usr/bin/env python3
"""Shows what the platform says of a zone canister: canister_status.py CANISTER: `zones fleet status --full`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

sys.exit(main(["fleet", "status", "--full", *sys.argv[1:]]))
