#!/usr/bin/env python3
"""Lists all zone canisters, which is `zones fleet list --ask`; with --upgrade it rolls the release out first.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python.
"""

import sys

from zones.cli import main

arguments = [argument for argument in sys.argv[1:] if argument != "--upgrade"]
code = 0
if len(arguments) < len(sys.argv) - 1:
    code = main(["fleet", "rollout", "start", "--wait", *arguments])
sys.exit(code or main(["fleet", "list", "--ask", *arguments]))
