"""`python -m compose.drills [NAME ...]`: play drills in the lab in network namespaces; needs root.

Writes FOLDER/drills.json and FOLDER/drills.html, as they are after each drill, and prints a timeline and a score for each.
Ends with 1 where a promise was not kept, or a drill ended early.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compose.drills import page, result
from compose.drills.catalogue import DRILLS
from compose.drills.stage import Drill, play
from compose.topology import lab
from compose.wired import Wired, unavailable

LINE = "{drill:24} {requests:8} {failed:7} {in_flight:10} {shifted:8} {late:6} {wrong_site:>6} {degraded_s:9} {slowest_s:8}"
HEAD = {
    "drill": "drill", "requests": "requests", "failed": "failed", "in_flight": "in flight", "shifted": "shifted",
    "late": "late", "wrong_site": "wrong", "degraded_s": "degraded", "slowest_s": "slowest",
}  # fmt: skip


def main() -> int:
    """Play the drills that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m compose.drills", description="Play drills in the lab.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(DRILLS)}; all where none is named")
    parser.add_argument("--folder", type=Path, default=Path("build/drills"), help="where results go")
    parser.add_argument(
        "--ttl", type=int, default=20, help="seconds for which answers are kept; a short one ends sooner"
    )
    wanted = parser.parse_args()
    if unknown := [name for name in wanted.names if name not in DRILLS]:
        parser.error(f"no such drill: {', '.join(unknown)}")
    if why := unavailable():
        print(f"drills: {why}", file=sys.stderr)
        return 1
    wanted.folder.mkdir(parents=True, exist_ok=True)
    found = []
    for one in _play(wanted.names or list(DRILLS), wanted.folder, wanted.ttl):
        found.append(one)
        (wanted.folder / "drills.json").write_text(json.dumps(found, indent=1) + "\n")
        (wanted.folder / "drills.html").write_text(page.page(found))
    print(LINE.format(**HEAD))
    for one in found:
        print(_line(one))
    for one in found:
        for why in one["broken"]:
            print(f"{one['drill']}: {why}")
    print(f"{wanted.folder}/drills.html")
    return int(any(one["broken"] for one in found))


def _line(one: Mapping[str, Any]) -> str:
    told = dict(one["score"])
    told["slowest_s"] = round(told["slowest_s"], 2)
    told["wrong_site"] = "-" if told["wrong_site"] is None else told["wrong_site"]
    return LINE.format(drill=one["drill"], **told)


def _play(names: Sequence[str], folder: Path, ttl_s: int) -> Iterator[dict[str, Any]]:
    """The results of drills; after one that ended early the others are played in a new lab."""
    left = list(names)
    while left:
        with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as files:
            Path(files).chmod(0o755)
            with Wired(lab(ttl_s), Path(files)) as wired:
                well = True
                while left and well:
                    one, well = played(wired, DRILLS[left.pop(0)], folder / "clients")
                    yield one


def played(wired: Wired, drill: Drill, notes: Path) -> tuple[dict[str, Any], bool]:
    """The result of a drill, and whether it came to its end; its clients' lines are below `notes`."""
    print(drill.title, flush=True)
    shutil.rmtree(notes / drill.name, ignore_errors=True)
    try:
        story = play(wired, drill, notes)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"  {error}")
        nothing = result.Story(drill.name, drill.title, drill.promise, [], [], [], {})
        return result.to_json(nothing, wired.topology, [f"ended early: {str(error) or type(error).__name__}"]), False
    one = result.to_json(story, wired.topology, drill.kept(story, wired.topology))
    for line in one["timeline"]:
        print(f"  {line['at']:8.2f} s  {line['what']}")
    return one, True


if __name__ == "__main__":
    sys.exit(main())
