"""The command line `zones`: options, dispatch, output, and errors as one line and an exit code.

Not for what the commands do: each group has its module in `zones.commands`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from zones.commands import create, custody, deploy, fleet, limits, messages, network, status, upgrade
from zones.context import Context, Result
from zones.errors import ZonesError
from zones.state import STATE_VARIABLE
from zones.tables import printable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""


class Parser(argparse.ArgumentParser):
    """argparse with the exit code 1 and a single line for wrong usage."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with 1."""
        print(f"zones: error: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(1)


def parser() -> Parser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="zones",
        description="Operate zone availability canisters: a local network, the factory, zones and their messages.",
        epilog="exit codes: 0 done, 1 wrong use, 2 network trouble, 3 refused by a canister,\n4 not proven, "
        "5 done, but something needs looking at\n"
        "example:\n  zones network start && zones deploy && zones create && zones join --identity alice",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = Parser(add_help=False)
    group = common.add_argument_group("common options")
    group.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    group.add_argument(
        "--state", metavar="DIR", help=f"state folder (default: ${STATE_VARIABLE}, else .zones in this folder)"
    )
    remote = Parser(add_help=False, parents=[common])
    group = remote.add_argument_group("network options")
    group.add_argument(
        "--network", default="local", metavar="NET", help="local (default), ic or the URL of another network"
    )
    group.add_argument("--identity", default="owner", metavar="NAME", help="who calls (default: owner)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def add(
        to: argparse._SubParsersAction[Parser],
        name: str,
        summary: str,
        run: Callable[[Context], Result | None],
        example: str,
        *,
        local: bool = False,
    ) -> Parser:
        command = to.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            parents=[common if local else remote],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    network.register(commands, add)
    deploy.register(commands, add)
    create.register(commands, add)
    messages.register(commands, add)
    limits.register(commands, add)
    upgrade.register(commands, add)
    status.register(commands, add)
    custody.register(commands, add)
    fleet.register(commands, add)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # its encoding is the locale's, which may know ASCII alone
    commands = parser()
    options = commands.parse_args(arguments)
    if options.json and getattr(options, "csv", False):
        commands.error("--json and --csv exclude each other")
    try:
        result = options.run(Context(options))
        if result is not None:
            _print(options, result)
        sys.stdout.flush()
        return 0 if result is None else result.exit_code
    except ZonesError as error:
        print(f"zones: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a state folder or a file that can't be used
        print(f"zones: error: {error} (see --state in `zones {options.command} --help`)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _print(options: argparse.Namespace, result: Result) -> None:
    if options.json:
        print(json.dumps(result.data))
    elif getattr(options, "csv", False) and result.table is not None:
        print(result.table.csv(), end="")
    else:
        for line in result.lines:
            print(printable(line))
