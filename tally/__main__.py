"""The command `tally`, which is also `python -m tally`."""

from __future__ import annotations

import os
import sys

from tally.early_signals import hold


def main() -> None:
    """Run the command line in safe-path mode, as its services run.

    Python looks for modules in the folder of the script first, `~/.local/bin` say, or for `-m` in the one in which it
    was started. A `queue.py` there is not the one that is meant.
    """
    hold()
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    if not sys.flags.safe_path and sys.path[0] != home:
        del sys.path[0]
    from tally.cli.app import main as run  # only now

    run()


if __name__ == "__main__":
    main()
