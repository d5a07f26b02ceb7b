"""Fuzz the XDP programs: `python -m tests.fuzz.xdp PACKETS [SEED]`, as root.

PACKETS mutated frames go through the entry program and the balancer by BPF test runs, a fifth as many through the program that
ends tunnels, and as many again through that of health checks.  Each has a verdict that it may have and is counted once; what is
passed is as it came; what is sent is what came, with nothing changed but what forwarding changes (`tests/fuzz/judge.py`).
Exit status 1, with the frame in hex, if any of it fails.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import Progress

from tests.fuzz.frames import frames
from tests.fuzz.targets import Balancer, Decap, Probe, Target
from tests.xdp.harness import Unusable
from xdp.build import NotBuilt
from xdp.preflight import Refused

BLOCK = 2_000  # frames, each block from tables as at the start, so that a failure can be had again from its seed
SPELL = 200  # frames between changes of tables
BROKEN = (Unusable, OSError, LookupError, ValueError)  # of the kernel, and of frames that the judge cannot read
OTHERS = 5  # one frame for the other programs for so many for the balancer
TARGETS: tuple[type[Balancer | Decap | Probe], ...] = (Balancer, Decap, Probe)


UNUSABLE = (Unusable, Refused, NotBuilt)  # this machine has no programs to fuzz


class Failure(Exception):
    """What went wrong, and how to have it again."""


def fuzz(target: Target, count: int, seed: int, tell: Callable[[int], None] = lambda _: None) -> Counter[str]:
    """Send `count` frames; what became of them.  `tell`: how many more were sent.  Raises Failure."""
    outcomes: Counter[str] = Counter()
    for block in range(0, count, BLOCK):
        own = seed + block
        chance = random.Random(own)
        target.begin()
        for number, frame in enumerate(frames(min(BLOCK, count - block), own, target.corpus)):
            if number % SPELL == 0:
                target.change(chance)
                tell(SPELL)
            try:
                done, wrong = target.run(frame, chance)
            except BROKEN as error:
                done, wrong = (), f"{type(error).__name__}: {error}"
            if wrong:
                again = f"frame {number} of seed {own}: `python -m tests.fuzz.xdp {BLOCK * OTHERS} {own}` has it again"
                raise Failure(f"{target.name}: {wrong} ({', '.join(done)})\n  {again}\n  {frame.hex()}")
            outcomes.update(done)
    return outcomes


def counts(packets: int) -> dict[type[Balancer | Decap | Probe], int]:
    """How many frames each program is given."""
    return {kind: packets if kind is Balancer else packets // OTHERS for kind in TARGETS}


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    packets = int(arguments[0]) if arguments else 1_000_000
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    if os.geteuid() != 0:
        sys.stderr.write("the XDP programs are not fuzzed: that needs root\n")
        return 0
    for kind, count in counts(packets).items():
        began = time.monotonic()
        try:
            outcomes = _shown(kind, count, seed)
        except (Failure, *UNUSABLE, OSError) as failure:
            sys.stderr.write(f"{failure}\n")
            return 1
        took = time.monotonic() - began
        told = ", ".join(f"{name} {times}" for name, times in outcomes.most_common())
        sys.stdout.write(f"{kind.name}: {count} frames (seed {seed}) in {took:.0f} s, nothing wrong: {told}\n")
    return 0


def _shown(kind: type[Balancer | Decap | Probe], count: int, seed: int) -> Counter[str]:
    """`run` with a bar, at a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(kind.name, total=count)
        return run(kind, count, seed, lambda more: bar.advance(task, more))


def run(
    kind: type[Balancer | Decap | Probe], count: int, seed: int, tell: Callable[[int], None] = lambda _: None
) -> Counter[str]:
    """The same with programs of its own.  Raises Failure, UNUSABLE, OSError."""
    target = kind()
    try:
        return fuzz(target, count, seed, tell)
    finally:
        target.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
