"""The maps' tree in Rust: its own tests run it next to the library whose layout it has, on the same memory.

Not for the maps as Python sees them: `test_template_maps` has those.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from canister_build.template import recipe, tools

RUNTIME = Path(recipe.__file__).parent / "runtime"


def test_the_tree_and_the_library_read_and_change_what_the_other_wrote(tmp_path: Path) -> None:
    found = tools.find()
    environment = {**os.environ, "RUSTC": str(found.rustc), "CARGO_TARGET_DIR": str(tmp_path)}
    command = [found.cargo, "test", "--locked", "--quiet", "--test", "tree"]
    done = subprocess.run(command, cwd=RUNTIME, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"test result: ok\. (\d+) passed; 0 failed; 0 ignored", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 4
