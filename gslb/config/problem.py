"""What is wrong with a configuration, where, and what was expected instead.

Rule 1: a problem names its place, the offending value and what was expected.
Rule 2: nothing stops at the first problem; readers report to `Problems` and go on.
Rule 3: one mistake gives one problem: who finds a value damaged already stays silent (`Problems.damaged`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path

MAX_KNOWN = 2000  # names that are compared with an unknown one
MAX_COMPARED = 63  # characters of it
MAX_PROBLEMS = 1000  # a wrong file of a million records must not fill the terminal or the memory

KeyPath = tuple[str | int, ...]  # ("policies", "web", "rules", 0, "subnets", 1)


class Severity(StrEnum):
    """Errors refuse the configuration; warnings are printed and do not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Where:
    """A place in a file.  Lines and columns count from 1; 0 stands for "the whole" (file, line)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)])


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.  `subject` names it in the words of the file: a key, or a record.

    `alike` is what warnings of one kind have in common, where there may be many: logs give their number (`folded`).
    """

    where: Where
    subject: str
    message: str
    severity: Severity = Severity.ERROR
    alike: str = ""

    def __str__(self) -> str:  # type: ignore[explicit-override]
        word = "" if self.severity is Severity.ERROR else "warning: "
        subject = f"{self.subject}: " if self.subject else ""
        return printable(f"{self.where}: {word}{subject}{self.message}")


def folded(problems: Iterable[Problem]) -> list[str]:
    """A line for each problem, and one for all that are alike."""
    found: dict[int | str, list[Problem]] = {}
    for number, problem in enumerate(problems):
        found.setdefault(problem.alike or number, []).append(problem)
    return [_line(several) for several in found.values()]


def _line(several: list[Problem]) -> str:
    first, *others = several
    if not others:
        return str(first)
    more = f"{first.subject} and {len(others):,} more: {first.alike} (`gslb check` names all)"
    return str(replace(first, subject="", message=more))


class Refused(Exception):
    """A configuration was refused.  `problems` holds every error and warning, in the order of the files.

    `files` are the files that were read, so that a watcher knows what to wait for.
    """

    def __init__(self, problems: Iterable[Problem], files: Iterable[Path] = ()) -> None:
        self.problems = tuple(problems)
        self.files = tuple(files)
        super().__init__("\n".join(map(str, self.problems)))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What has to be mended; warnings are for who reads them all."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)


class Problems:
    """Collects problems, and remembers which keys are damaged."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._damaged: set[KeyPath] = set()
        self._above: set[KeyPath] = set()  # what holds a damaged key
        self._left_out = 0

    def add(self, problem: Problem, path: KeyPath | None = None) -> None:
        """Report `problem`; an error at key `path` damages that key."""
        if path is not None and problem.severity is Severity.ERROR:
            self.damage(path)
        if len(self._found) < MAX_PROBLEMS:
            self._found.append(problem)
        else:
            self._left_out += 1

    def error(self, where: Where, path: KeyPath, message: str) -> None:
        """Report an error at key `path`."""
        self.add(Problem(where, path_text(path), message), path)

    def damage(self, path: KeyPath) -> None:
        """Mark a key as damaged by a problem that was reported elsewhere."""
        self._damaged.add(path)
        self._above.update(path[:length] for length in range(len(path)))

    def damaged(self, path: KeyPath) -> bool:
        """Whether an error was reported at `path`, below it, or at something that holds it."""
        return path in self._above or any(path[:length] in self._damaged for length in range(len(path) + 1))

    @property
    def failed(self) -> bool:
        """Whether there was an error."""
        return self._left_out > 0 or any(problem.severity is Severity.ERROR for problem in self._found)

    def sorted(self) -> tuple[Problem, ...]:
        """All problems, file by file in the order in which the files were met, then by place."""
        files = {name: number for number, name in enumerate(dict.fromkeys(p.where.file for p in self._found))}
        found = sorted(self._found, key=lambda p: (files[p.where.file], p.where.line, p.where.column))
        if self._left_out:
            last = Problem(Where(found[-1].where.file), "", f"{self._left_out} more problems are not shown")
            found.append(last)
        return tuple(found)


def path_text(path: KeyPath) -> str:
    """`policies.web.rules[0].subnets[1]`, `records[www.example.net.].ttl`."""
    text = ""
    for part in path:
        if isinstance(part, int) or "." in part:
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return printable(text)


def printable(text: str) -> str:
    """The text with all that a terminal could act on escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def one_of(known: Collection[str], written: str) -> str:
    """What was expected instead of the unknown word `written`: the nearest known one, or all where they are few."""
    likely = nearest(written, known)
    if likely is not None:
        return f"did you mean {likely}?"
    if not known:
        return "none is defined"
    if len(known) > 20:
        return f"expected one of {len(known)} others"
    return "expected " + ("one of " if len(known) > 1 else "") + ", ".join(known)


def nearest(written: str, known: Iterable[str]) -> str | None:
    """The known word with the least edit distance from `written`, if it is near enough to be a slip."""
    if len(written) > MAX_COMPARED:
        return None
    allowed = max(1, len(written) // 3)
    best: tuple[int, str] | None = None
    for word in islice(known, MAX_KNOWN):
        if abs(len(word) - len(written)) > allowed:
            continue
        distance = edit_distance(written.lower(), word.lower())
        if distance <= allowed and (best is None or distance < best[0]):
            best = (distance, word)
    return best[1] if best else None


def edit_distance(left: str, right: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn `left` into `right`."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row_before = row, before
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, row_before[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]
