"""`python -m canister_build.template`: builds the template if need be and prints where it is.

Not for building canisters: `python -m canister_build` does.
"""

from __future__ import annotations

import argparse
import sys

from . import TemplateError, find, key, locate


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m canister_build.template",
        description="Builds the interpreter template unless it is given or cached, and prints its path.",
        epilog="example: BASILISK_TEMPLATE_WASM=$(python -m canister_build.template)",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--where", action="store_true", help="print the path if it is there, else exit with 1")
    choice.add_argument("--print-key", action="store_true", help="print the hash of all it is made from")
    options = parser.parse_args(arguments)
    try:
        if options.print_key:
            print(key())
            return 0
        template = find() if options.where else locate()
    except TemplateError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Finished stages are kept; the next run goes on from there.", file=sys.stderr)
        return 130
    if template is None:
        return 1
    print(template.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
