"""`gslb` whose workers answer all in Python, as where libgslb.so is not built: a row of the bench.  IO."""

from __future__ import annotations

import sys

from xdp import build


def main() -> int:
    """The program, which finds no library."""
    build.LIBRARY = "none.so"
    from gslb.cli.main import main as program  # noqa: PLC0415  # when the name is another

    return program()


if __name__ == "__main__":
    sys.exit(main())
