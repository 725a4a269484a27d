#!/usr/bin/env bash
# Installs the Debian packages that a step needs, says what each is for, and does nothing when all are there.
#   install_system_packages.sh base    what the Makefile needs to make the virtual environment
#   install_system_packages.sh browser what the tests of the fleet's report need
#   install_system_packages.sh build   what building the interpreter template needs; nothing where it is cached or given
set -euo pipefail

BASE=(
  "python3-venv|makes the virtual environment"
  "make|runs the Makefile"
)
BROWSER=(
  "chromium|renders the fleet's report in a test"
)
usage() {
  echo "usage: $0 base|browser|build" >&2
  exit 2
}

installed() {
  dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

# A machine that got its Python or make by another way needs no package for them.
present_otherwise() {
  case "$1" in
    python3-venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null ;;
    make) command -v make >/dev/null ;;
    chromium) command -v "${CHROMIUM:-chromium}" chromium-browser google-chrome >/dev/null ;;
    *) false ;;
  esac
}

[ $# -eq 1 ] || usage
case "$1" in
  base) packages=("${BASE[@]}") ;;
  browser) packages=("${BROWSER[@]}") ;;
  build)
    if .venv/bin/python -m canister_build.template --where >/dev/null 2>&1; then exit 0; fi
    # One list: the build itself checks the same packages.
    mapfile -t packages < <(.venv/bin/python -c '
from canister_build.template.tools import SYSTEM_PACKAGES
print(*(f"{name}|{reason}" for name, reason in SYSTEM_PACKAGES.items()), sep="\n")')
    [ ${#packages[@]} -gt 0 ] || { echo "the virtual environment is not ready: run make" >&2; exit 1; }
    ;;
  *) usage ;;
esac

missing=()
for entry in "${packages[@]}"; do
  name=${entry%%|*}
  if ! installed "$name" && ! present_otherwise "$name"; then
    missing+=("$name")
    echo "needs $name: ${entry#*|}"
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "This machine has no apt-get. Install the counterparts of: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "Run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
log=$(mktemp)
echo "Installing ${missing[*]} (log: $log)"
if ! { "${as_root[@]}" apt-get update && DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "apt-get could not install ${missing[*]}: see $log" >&2
  exit 1
fi
rm -f "$log"
