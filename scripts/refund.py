#!/usr/bin/env python3
"""Sends on what lies on the factory's account at the cycles ledger: refund.py, which is `zones fleet refund`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

sys.exit(main(["fleet", "refund", *sys.argv[1:]]))
