"""`make bench`: every measurement, one after the other, each in a process of its own; all results in one JSON file.  IO."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from gslb import __version__

PARTS = {
    "geo": "the city database: flatten, rank, load; time and memory",
    "decide": "a decision after one pool changed",
    "balancer": "the XDP programs: nanoseconds a packet, and packets a second over veth",
    "dnsdriver": "DNS in the driver: nanoseconds a query, and its share of a realistic mix",
    "health": "2 000 targets checked every 5 s",
    "busload": "20 nodes that share what they see of 2 000 targets",
    "answer": "one query in one process, without sockets",
    "dnspath": "what an answer costs the whole machine, in the driver and by others",
    "dns": "the nameserver beside others, over the network",
}
INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM)
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the parts asked for; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, print tables, keep the results.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} [all]")
    asked = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in asked if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    started = datetime.now(UTC)
    folder = RESULTS / started.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    failed = []
    for part in asked:
        status = _run(part, folder / f"{part}.json")
        if status:
            failed.append(part)
        if status in INTERRUPTED:
            break
    results = {part: json.loads(path.read_text()) for part in asked if (path := folder / f"{part}.json").exists()}
    shutil.rmtree(folder)
    if results:
        summary = folder.with_suffix(".json")
        found = {"machine": _machine(), "started": started.isoformat(), **results}
        summary.write_text(json.dumps(found, indent=1) + "\n")
        print(f"\nresults: {summary.relative_to(Path.cwd()) if summary.is_relative_to(Path.cwd()) else summary}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(part: str, output: Path) -> int:
    """Run one part and return its exit status.  It clears away what it made when it is told to end, so we only pass that on."""
    print(f"\n== {part}: {PARTS[part]}\n", flush=True)
    with subprocess.Popen([sys.executable, "-m", f"bench.{part}", "--json", str(output)]) as child:

        def end(_number: int, _frame: FrameType | None) -> None:
            child.terminate()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        return child.wait()


def _machine() -> dict[str, object]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gslb": __version__,
        "load": os.getloadavg(),
    }


if __name__ == "__main__":
    sys.exit(main())
