"""`python -m healthcheck FD`: the checking process, started by the controller with its end of a socket pair."""

from __future__ import annotations

import socket
import sys

from healthcheck.probes import PROBES
from healthcheck.process import run


def main() -> int:
    """Serve the socket whose number is the only argument; 2 where there is none."""
    try:
        line = socket.socket(fileno=int(sys.argv[1]))
    except (IndexError, ValueError, OSError):
        sys.stderr.write("healthcheck: expected the number of a socket that the controller has opened\n")
        return 2
    return run(line, PROBES)


if __name__ == "__main__":
    sys.exit(main())
