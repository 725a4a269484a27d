#!/usr/bin/env python3
"""Shows zone canisters with what they say: canister_info.py --all (`zones fleet list --ask`) or CANISTER (`status`).

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

arguments = sys.argv[1:]
command = ["list", "--ask"] if "--all" in arguments else ["status"]
sys.exit(main(["fleet", *command, *(argument for argument in arguments if argument != "--all")]))
