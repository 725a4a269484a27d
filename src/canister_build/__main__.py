"""The command `python -m canister_build`: builds, checks or describes one canister.

Not for more than one canister at a time: make does that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from .artifact import BUILDER_VARIABLE, BUILDERS, Artifact, build, candid_of, check, default_builder
from .findings import RULES, BuildError, SourceError
from .kybra_builder import install_toolchain
from .sources import locate

_EXAMPLE = f"""example:
  python -m canister_build zone_canister --builder template --out build/zone_canister

The builder is the one named by --builder, else by the variable {BUILDER_VARIABLE}, else kybra.
exit codes: 0 done, 1 the source is wrong or the builder cannot work, 2 wrong command line"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except SourceError as error:
        return _failed(options.json, [asdict(f) for f in error.findings], _listed(options.name, error))
    except BuildError as error:
        return _failed(options.json, [], str(error))
    except OSError as error:
        return _failed(options.json, [], f"{error.strerror}: {error.filename}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m canister_build",
        description="Build a canister from its Python source: NAME.wasm.gz, NAME.did and NAME.json (the manifest).",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="a package in src/ with a main.py, or the path of such a folder")
    parser.add_argument("--builder", choices=BUILDERS, help="which builder to use")
    parser.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: build/NAME)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only check the source against the rules")
    what.add_argument("--candid", action="store_true", help="only print the Candid interface")
    what.add_argument("--write-did", action="store_true", help="only write the interface to NAME.did beside main.py")
    what.add_argument("--rules", action="store_true", help="list the rules for canister source")
    what.add_argument("--install-kybra", action="store_true", help="install Kybra's toolchain (needs a network)")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.rules:
        print("\n".join(f"{number:2} {rule}" for number, rule in RULES.items()))
        return 0
    if options.install_kybra:
        install_toolchain()
        print("Kybra's toolchain is installed.")
        return 0
    if options.name is None:
        _parser().print_usage(sys.stderr)
        print("which canister? Give its NAME, for example zone_canister.", file=sys.stderr)
        return 2
    if options.check:
        findings = check(options.name)
        if findings:
            raise SourceError(findings)
        print(json.dumps({"findings": []}) if options.json else f"{options.name}: no findings")
    elif options.candid:
        print(candid_of(options.name), end="")
    elif options.write_did:
        root, package = locate(options.name)
        path = root / package / f"{package}.did"
        path.write_text(candid_of(options.name), encoding="utf-8")
        print(_shown(path))
    else:
        artifact = build(options.name, builder=options.builder or default_builder(), out=options.out)
        print(json.dumps(_described(artifact), indent=2) if options.json else _summary(artifact))
    return 0


def _described(artifact: Artifact) -> dict[str, object]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(artifact).items()}


def _summary(artifact: Artifact) -> str:
    size = artifact.wasm_gz.stat().st_size
    done = "built" if artifact.rebuilt else "up to date"
    return (
        f"{artifact.name} {done} by {artifact.builder}\n"
        f"  {_shown(artifact.wasm_gz)}  {size:,} bytes, SHA-256 {artifact.wasm_sha256}\n"
        f"  {_shown(artifact.did)}\n"
        f"  {_shown(artifact.manifest)}"
    )


def _listed(name: str, error: SourceError) -> str:
    root = locate(name)[0]
    places = [f"{_shown(root)}{os.sep}{finding}" for finding in error.findings]
    count = len(places)
    return "\n".join([*places, f"{count} finding{'s' if count > 1 else ''} in the source of {name}."])


def _shown(path: Path) -> str:
    shown = os.path.relpath(path)
    return str(path) if shown.startswith(os.pardir) else shown


def _failed(as_json: bool, findings: list[dict[str, object]], message: str) -> int:
    if as_json:
        print(json.dumps({"error": message, "findings": findings}, indent=2))
    else:
        print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
