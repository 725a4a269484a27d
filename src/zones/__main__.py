"""`python -m zones` is the command `zones`; nothing else lives here."""

import sys

from zones.cli import main

if __name__ == "__main__":
    sys.exit(main())
