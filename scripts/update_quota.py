#!/usr/bin/env python3
"""Sets what all zones get in a window: update_quota.py default | MAX [SECONDS], which is `zones fleet policy --quota`.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

DEFAULT = ["1T", "3600"]
DAY = "86400"
USAGE = "usage: update_quota.py default | MAX [SECONDS] [option of `zones fleet policy`]..."

given = [argument for argument in sys.argv[1:3] if not argument.startswith("-")]
if not given:
    sys.exit(USAGE)
most, seconds = DEFAULT if given[0] == "default" else [*given, DAY][:2]
options = sys.argv[1 + (1 if given[0] == "default" else len(given)) :]
sys.exit(main(["fleet", "policy", "--quota", most, "--quota-seconds", seconds, *options]))
