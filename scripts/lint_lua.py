#!/usr/bin/env python3
"""Check the Lua scripts with luacheck, each as it is sent to Redis, with what it includes. `make lint` runs this.

Debian's package lua-check has it, and Homebrew's luacheck. Without it this says so and is content, unless
TALLY_REQUIRE_LUACHECK=1 is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tally.store.lua import assembled

ROOT = Path(__file__).resolve().parent.parent

#: Where the scripts are put for luacheck, and where its messages say that they are.
FOLDER = Path("build/lua")


def main() -> int:
    """Return 0 if there is nothing to be said against the scripts, else 1."""
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        required = os.environ.get("TALLY_REQUIRE_LUACHECK") == "1"
        sys.stderr.write("lint_lua: there is no luacheck (Debian: lua-check), so the Lua scripts are not checked\n")
        return int(required)
    shutil.rmtree(ROOT / FOLDER, ignore_errors=True)
    (ROOT / FOLDER).mkdir(parents=True)
    for file in (ROOT / "tally/store/scripts").glob("*.lua"):
        if not file.stem.endswith("_library"):
            (ROOT / FOLDER / file.name).write_text(assembled(file.stem), encoding="utf-8")
    return subprocess.run([luacheck, "--quiet", "--no-color", str(FOLDER)], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
