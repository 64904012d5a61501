"""`python -P -m dagbok.parsing`, which is how the processor asks: see `parsing/server.py`.

This file only sees to where compiled modules come from, before more of ours is imported.
"""

from __future__ import annotations

import sys

from dagbok import bytecode


def main() -> int:
    """Parse what is named, or asked for."""
    bytecode.use_named()
    from dagbok.parsing.server import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
