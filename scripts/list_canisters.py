#!/usr/bin/env python3
"""Lists all zone canisters, which is `zones fleet list --ask`; with --upgrade it rolls the release out first.

Takes the options of that command (--network, --identity, --factory, --json, ...); run it with .venv/bin/python. With
--json both are one object, with --csv there is the list alone.
"""

import contextlib
import io
import json
import sys

from zones.cli import main, parser
from zones.context import ATTENTION

UPGRADE = "--upgrade"
arguments = [argument for argument in sys.argv[1:] if argument != UPGRADE]
listing = ["fleet", "list", "--ask", *arguments]
if UPGRADE not in sys.argv:
    sys.exit(main(listing))

options = parser().parse_args(listing)  # what the list does not take is refused before anything is upgraded
is_data = options.json or options.csv
rollout, zones = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(rollout if is_data else sys.stdout):
    code = main(["fleet", "rollout", "start", "--wait", *arguments])
if code not in (0, ATTENTION):
    sys.exit(code)
with contextlib.redirect_stdout(zones if options.json else sys.stdout):
    code = main(listing) or code
if options.json:
    both = [json.loads(text) for text in (rollout.getvalue(), zones.getvalue()) if text]
    print(json.dumps({key: value for found in both for key, value in found.items()}))
sys.exit(code)
