"""Executors of DNS in C against the reference: `python -m tests.fuzz.differential QUESTIONS [SEED]`.

Every reply of the native executor, built with sanitizers and as it is installed, must be the reference's octet by octet; both
must count alike.  Exit status 1 with the question in hex where they differ.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from array import array
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gslb.dnslayout import DnsCounts, DnsCountSizes
from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import Counter
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.legend import Legend
from gslb.nameserver.native import Native, opened
from gslb.nameserver.table import Tables
from tests.fuzz.questions import Asker, Question, sixteen
from tests.nameserver import make
from tests.nameserver.imagescene import scene

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "xdp/objects/libgslb.so"
BLOCK = 20_000  # questions that are made at a time
NOW = int(make.NOW)
NEVER_LIMITED = 1e9  # responses/s to a network
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror")
_ARRIVALS = (Counter.FAST, Counter.GENERAL, Counter.UNUSUAL)  # the reference counts how it came to an answer
_COUNTS = 8  # octets of a number


class Difference(AssertionError):
    """What differs, and how to ask for it again."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked: tables, and their image."""

    tables: Tables
    image: bytes
    geography: bytes
    legend: Legend

    @classmethod
    def of(cls, *, one_class: bool, protected: bool) -> Subject:
        """The scene of images, with cookies or without."""
        here = scene(one_class=one_class)
        tables = replace(here.tables, protection=make.protection(NEVER_LIMITED) if protected else None)
        image, legend = split(ImageBuilder().build(tables).octets)
        return cls(tables, bytes(image), here.geography, legend)

    def asker(self, seed: int) -> Asker:
        """Who asks about it."""
        protection = self.tables.protection
        return Asker(seed, protection.cookie_keys if protection else None, NOW)


def subjects() -> list[Subject]:
    """With one location class and without cookies; with many, and with them."""
    return [Subject.of(one_class=True, protected=False), Subject.of(one_class=False, protected=True)]


class Judge:
    """The reference, asked the same; one for the questions that an executor answered, and one for the others."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._answered = Responder(subject.tables, clock=lambda: NOW)
        self._others = Responder(subject.tables, clock=lambda: NOW)
        self.answered = self.passed = 0

    def hear(self, question: Question, reply: bytes | None) -> None:
        """Judge one reply.  Raises Difference."""
        message, source = question
        if reply is None:
            self.passed += 1
            self._others.udp(message, source)
            return
        self.answered += 1
        wanted = self._answered.udp(message, source)
        if reply != wanted:
            shown = "silence" if wanted is None else wanted.hex()
            raise Difference(f"from {source}\n  asked    {message.hex()}\n  answered {reply.hex()}\n  expected {shown}")

    def hear_counts(self, block: Sequence[int]) -> None:
        """Judge what was counted.  Raises Difference."""
        counted = {counter.name: block[counter] for counter in Counter if counter not in _ARRIVALS}
        expected = {counter.name: self._answered.counts[counter] for counter in Counter if counter not in _ARRIVALS}
        counted["queries"], expected["queries"] = block[Counter.FAST], self.answered
        first = DnsCountSizes.DNS_COUNTERS
        ups = block[first : first + len(DnsCounts().up)]
        counted["up"], expected["up"] = sum(ups), self.passed
        _same("counters", counted, expected)
        numbers = block[_sizeof_counts() // _COUNTS :]
        given, legend = self._answered.given, self._subject.legend
        cells = {
            (each.policy, each.rtype): list(numbers[each.first : each.first + each.rankings]) for each in legend.cells
        }
        _same("cells", _moved(cells), _moved({key: list(found) for key, found in given.cells.items()}))
        marks = numbers[_cells_of(self._subject) :]
        pools: Tally[tuple[str, int]] = Tally()
        for number, (rtype, names) in enumerate(legend.marks):
            for name in names:
                pools[name, rtype] += marks[number]
        _same("pools", {key: count for key, count in pools.items() if count}, given.pools())
        asked = {policy: numbers[counter] for policy, counter in legend.asked.items() if numbers[counter]}
        _same("asked", asked, {policy: sources.total for policy, sources in given.sources.items() if sources.total})


@contextmanager
def sanitized(folder: Path, subject: Subject) -> Iterator[Sanitized]:
    """The native executor built with sanitizers, as a process."""
    program = folder / "asked"
    if not program.exists():
        source = Path(__file__).with_name("asked.c")
        subprocess.run(
            ["gcc", *SANITIZED, f"-I{ROOT / 'xdp/c'}", str(source), "-o", str(program)], check=True, timeout=100
        )
    image, geography = folder / "image", folder / "geography"
    image.write_bytes(subject.image)
    geography.write_bytes(subject.geography)
    with subprocess.Popen(
        [program, image, geography, str(NOW)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield Sanitized(process)
        finally:
            process.kill()


class Sanitized:
    """That process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def answer(self, message: bytes, source: bytes) -> bytes | None:
        """Its reply.  Raises Difference where a sanitizer ended it."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(len(message).to_bytes(2, "little") + source + message)
            process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(message) from None
        head = process.stdout.read(2)
        if len(head) < 2:
            raise self._ended(message)
        octets = int.from_bytes(head, "little")
        return process.stdout.read(octets) if octets else None

    def finish(self) -> Sequence[int]:
        """End it; its counters.  Raises Difference where a sanitizer found a leak."""
        rest, said = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise Difference(said.decode())
        return array("Q", rest)

    def _ended(self, message: bytes) -> Difference:
        _, said = self._process.communicate(timeout=60)
        return Difference(f"asked {message.hex()}\n{said.decode()}")


def compare(subject: Subject, folder: Path, count: int, seed: int) -> Judge:
    """Ask `count` questions of both builds.  Raises Difference."""
    judge = Judge(subject)
    native = Native(opened(LIBRARY), subject.image, subject.geography)
    asker = subject.asker(seed)
    with sanitized(folder, subject) as other:
        for done in range(0, count, BLOCK):
            for question in asker.questions(min(BLOCK, count - done)):
                message, source = question
                reply = native.answer(message, sixteen(source), NOW)
                if (second := other.answer(message, sixteen(source))) != reply:
                    raise Difference(f"two builds differ: {message.hex()} from {source}: {reply!r}, {second!r}")
                judge.hear(question, reply)
        judge.hear_counts(native.counts)
        judge.hear_counts(other.finish())
    native.close()
    return judge


def _same(what: str, counted: object, expected: object) -> None:
    if counted != expected:
        raise Difference(f"{what}:\n  counted  {counted}\n  expected {expected}")


def _moved(cells: dict[tuple[str, int], list[int]]) -> dict[tuple[str, int], list[int]]:
    return {key: counts for key, counts in cells.items() if any(counts)}


def _sizeof_counts() -> int:
    return len(bytes(DnsCounts()))


def _cells_of(subject: Subject) -> int:
    """Where the marks begin behind struct dns_counts."""
    cells = [each.first + each.rankings for each in subject.legend.cells]
    return max([*cells, *(counter + 1 for counter in subject.legend.asked.values())], default=0)


def main() -> int:
    """Compare, and say how many questions were answered by the native executor."""
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory(prefix="gslb-differential-") as folder:
        for number, subject in enumerate(subjects()):
            judge = compare(subject, Path(folder), count // 2, seed + number)
            print(f"{count // 2} questions: {judge.answered} answered alike, {judge.passed} passed on")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
