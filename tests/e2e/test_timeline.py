"""How long it takes from a server that is killed to the first answer without it: told, `-s` shows it, and bounded loosely."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path

from tests.e2e.lifecycle import wait_until
from tests.e2e.pairs import SPARE, Node, Pair, node_with
from tests.e2e.services import services
from tests.ports import free_port

WWW = "127.0.7.1"
INTERVAL_S = 0.2
WITHIN_S = 5.0
TURNS = 3


def test_a_verdict_is_in_the_answers_at_once(tmp_path: Path) -> None:
    port = free_port()
    monitor = f"type: http, port: {port}, interval: 200ms, timeout: 150ms, fall: 1, rise: 1"
    with services(port, WWW) as (www,), node_with(tmp_path, Pair("www", WWW, monitor)) as node:
        for _ in range(TURNS):
            wait_until(lambda: node.at_home("www"), "all is well", 30.0)
            www.kill()
            killed = last_good = time.time()
            while (addresses := node.server.addresses()) != [SPARE]:
                assert addresses == [WWW]
                last_good = time.time()
                assert last_good < killed + WITHIN_S, "the answer does not change"
            changed = time.time()
            verdict = verdict_after(node, killed)
            sys.stdout.write(
                f"killed at 0 ms; checks every {INTERVAL_S * 1000:g} ms, fall 1; verdict told {_ms(verdict - killed)}, "
                f"last old answer {_ms(last_good - killed)}, first new answer {_ms(changed - killed)}\n"
            )
            assert changed - killed < WITHIN_S
            www.start()


def verdict_after(node: Node, moment: float) -> float:
    """When the target went down, in seconds since the epoch, by the audit log."""
    found: list[float] = []

    def told() -> bool:
        downs = (line for line in node.audit() if line["what"] == "target" and line["after"] == "down")
        times = (datetime.fromisoformat(line["time"]).timestamp() for line in downs)
        found[:] = [at for at in times if at > moment]
        return bool(found)

    wait_until(told, "the audit log has the verdict")
    return found[0]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:+.0f} ms"
