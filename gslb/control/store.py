"""The state folder of one node: the last plan, what was observed last, and the operators' overrides.  IO.

    ROOT/DEPLOYMENT/NODE/          mode 0700
        plan.json                  the last plan, as `Plan.to_bytes` wrote it
        plan.json.last-good        a copy of the last plan with new content, for when the file itself cannot be read
        observed.json              what was observed last (gslb.control.observed)
        figures.json               statistics of checks and loads, for people
        in-force.json              the files of the configuration in force (gslb.control.kept)
        applied.json, applied-before.json    versions of the configuration (gslb.control.applied)
        overrides.json             the overrides; written under a lock on `overrides.lock`
        overrides.json.last-good   a copy of what was last written, for when the file itself cannot be read
        plan.json.bad, overrides.json.bad    one copy of what could not be read

Rule 1: a file is replaced whole (written beside, synced, renamed, folder synced): a reader sees the old or the new.
Rule 2: what cannot be read is a note for a person and never an exception; of plan and overrides the last good copy is taken.
Rule 3: nothing unreadable is overwritten: it is set aside first, and the writer says so.
Rule 4: files belong to the owner of the folder, so that root may override what a service of another user serves.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gslb.control.observed import Observed, dump_observed, parse_observed
from gslb.control.overrides import dump_overrides, parse_overrides
from gslb.control.words import GSLB, Edit, Lost, Word, edited, merged, overrides_of, tidied
from gslb.model.plan import Plan, PlanUnreadable, from_bytes
from gslb.model.world import Override

PLAN = "plan.json"
OBSERVED = "observed.json"
FIGURES = "figures.json"
CONFIGURATION = "in-force.json"
OVERRIDES = "overrides.json"
LAST_GOOD = ".last-good"  # the end of a copy's name
LOCK = "overrides.lock"
MAX_FILE = 64 << 20  # bytes; a larger file is not one of ours
LOCK_WAIT_S = 10.0  # writing takes milliseconds: after this the holder hangs

_Overrides = tuple[Override, ...]


class StateError(Exception):
    """The state folder cannot be written: the message names the path and the reason."""


@dataclass(frozen=True, slots=True)
class PlanRead:
    """The stored plan; `note` says why the file was not taken: then its last good copy, None where there is none."""

    plan: Plan | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedRead:
    """What was observed last, or None; `note` says why a file that is there was not taken."""

    seen: Observed | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class OverridesRead:
    """The stored overrides; `note` says why the file was not taken: then its last good copy, None where there is none."""

    overrides: tuple[Override, ...] | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Took:
    """The words by target after a merge; whether it `changed` what overrides there are, which were lost, and `note` as in Edited."""

    words: Mapping[str, Word]
    changed: bool
    lost: tuple[Lost, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """The overrides after an edit; `note` tells what became of a file that could not be read."""

    overrides: tuple[Override, ...]
    note: str | None = None


class Store:
    """The state of one node of one deployment, under `root`."""

    def __init__(self, root: Path, deployment: str, node: str) -> None:
        self.deployment = deployment
        self.folder = root / deployment / node  # names that the configuration has checked

    @property
    def overrides_path(self) -> Path:
        """The file to watch for a change of overrides."""
        return self.folder / OVERRIDES

    def overrides_stamp(self) -> str | None:
        """What differs after each writing of the overrides; None where there is no file."""
        try:
            found = self.overrides_path.stat()
        except OSError:
            return None
        return f"{found.st_mtime_ns}-{found.st_ino}"

    def create(self) -> None:
        """Make the folder, for its owner alone.  Raises StateError."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise _refusal(self.folder, error) from error

    def save_plan(self, plan: Plan, *, refined: bool = False) -> None:
        """Keep `plan` as the last one.  Raises StateError, and then the earlier one is still there.

        One that is only `refined` has the content of the one before: it is not synced, since it may be written each second
        and a lost one costs little, and the last good copy stays as it is.
        """
        data = plan.to_bytes()
        self._replace(PLAN, data, sync=not refined)
        if not refined:
            with suppress(StateError):  # the plan itself is written
                self._replace(PLAN + LAST_GOOD, data, sync=False)

    def read_plan(self) -> PlanRead:
        """The last plan; one that cannot be read, or of another deployment, is not taken and stays where it is."""
        try:
            return PlanRead(self._parsed_plan(PLAN))
        except (OSError, ValueError) as error:
            kept, instead = self._last_good_plan()
            return PlanRead(kept, f"{self.folder / PLAN}: {_why(error)}; {instead}")

    def load_plan(self) -> PlanRead:
        """As `read_plan`, for the one who will write the next: a file whose content cannot be used is set aside.

        While a last good copy stands in for it, it also stays where it is: without it there would be no plan.
        """
        try:
            return PlanRead(self._parsed_plan(PLAN))
        except OSError as error:
            kept, instead = self._last_good_plan()
            return PlanRead(kept, f"{self.folder / PLAN}: {_why(error)}; {instead}")
        except ValueError as error:
            kept, instead = self._last_good_plan()
            aside = self._set_aside(PLAN, stay=kept is not None)
            return PlanRead(kept, f"{self.folder / PLAN}: {error}; {instead}; {aside}")

    def save_observed(self, seen: Observed) -> None:
        """Keep what was observed; not synced, since it is written often and observed anew.  Raises StateError."""
        self._replace(OBSERVED, dump_observed(self.deployment, seen), sync=False)

    def read_observed(self) -> ObservedRead:
        """What was observed last; a file that cannot be read is a note, and is written over."""
        try:
            data = bounded(self.folder / OBSERVED)
            return ObservedRead(None if data is None else parse_observed(data, self.deployment))
        except (OSError, ValueError) as error:
            return ObservedRead(None, f"{self.folder / OBSERVED}: {_why(error)}")

    def save_figures(self, figures: Mapping[str, object]) -> None:
        """Keep statistics for `gslb status`; not synced.  Raises StateError."""
        self._replace(FIGURES, json.dumps(figures, separators=(",", ":")).encode(), sync=False)

    def read_figures(self) -> dict[str, Any]:
        """The statistics; empty where they cannot be read."""
        try:
            found = json.loads(bounded(self.folder / FIGURES) or b"{}")
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def save_file(self, name: str, data: bytes, *, sync: bool = True) -> None:
        """Keep a file of another module's.  Raises StateError."""
        self._replace(name, data, sync=sync)

    def drop_file(self, name: str) -> None:
        """Keep none."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def read_file(self, name: str) -> bytes | None:
        """What `save_file` kept last; None where there is none.  Raises OSError, ValueError."""
        return bounded(self.folder / name)

    def load_overrides(self) -> OverridesRead:
        """The overrides, also those that expired; no file is no overrides."""
        words, note = self._read_words()
        return OverridesRead(None if words is None else overrides_of(words), note)

    def load_words(self) -> dict[str, Word]:
        """What was said of each target, the ends too; of a file that cannot be read what its last good copy has."""
        return _by_target(self._read_words()[0] or ())

    def edit_overrides(
        self, change: Callable[[_Overrides], _Overrides], now: float, *, who: str = GSLB, why: str = ""
    ) -> Edited:
        """Replace the overrides in force at `now` by what `change` makes of them, alone of all writers.

        Expired ones are forgotten; those that end are ended by `who`, for a reason.  What `change` raises leaves the file as it
        is.  Raises StateError.
        """
        self.create()
        with self._locked():
            stored, unreadable = self._words_to_edit()
            after = change(tuple(one for one in overrides_of(stored) if one.holds_at(now)))
            words = edited(_by_target(stored), after, Edit(now, self.folder.name, who, why))
            note = self._write_words(words, unreadable)
            return Edited(overrides_of(words[one.target] for one in after), note)

    def merge_overrides(self, told: Iterable[Word], now: float) -> Took:
        """Take of what other nodes told what is later, alone of all writers.  Raises StateError."""
        self.create()
        with self._locked():
            stored, unreadable = self._words_to_edit()
            mine = _by_target(stored)
            found = merged(mine, told)
            if found.words == mine and unreadable is None:
                return Took(mine, changed=False, lost=found.lost)
            words = tidied(found.words, now)
            note = self._write_words(words, unreadable)
            return Took(words, overrides_of(words.values()) != overrides_of(stored), found.lost, note)

    def _write_words(self, words: Mapping[str, Word], unreadable: str | None) -> str | None:
        """Write the overrides file and its copy; what is to be said of that.  Raises StateError."""
        try:
            data = dump_overrides(self.deployment, words.values())
        except ValueError as error:
            raise StateError(f"{self.overrides_path}: {error}; nothing was changed") from error
        notes = [] if unreadable is None else [f"{unreadable}; {self._set_aside(OVERRIDES, stay=True)}"]
        self._replace(OVERRIDES, data)
        try:
            self._replace(OVERRIDES + LAST_GOOD, data)
        except StateError as error:  # the overrides themselves are written
            notes.append(f"no copy of {OVERRIDES} is kept: {error}")
        return "; ".join(notes) or None

    def _read_words(self) -> tuple[tuple[Word, ...] | None, str | None]:
        """The stored words, and why the file was not taken: then those of its last good copy."""
        try:
            return self._parsed_overrides(), None
        except (OSError, ValueError) as error:
            kept, instead = self._last_good()
            then = "the next `gslb drain|up|down|auto` writes the file anew"
            return kept, f"{self.overrides_path}: {_why(error)}; {instead}; {then}"

    def _words_to_edit(self) -> tuple[tuple[Word, ...], str | None]:
        """The stored words; or those of the last good copy, and what is wrong with the file's content."""
        try:
            return self._parsed_overrides(), None
        except OSError as error:
            raise _refusal(self.overrides_path, error) from error
        except ValueError as error:
            kept, instead = self._last_good()
            return kept or (), f"{self.overrides_path}: {error}; {instead}"

    def _last_good(self) -> tuple[tuple[Word, ...] | None, str]:
        """The words of the last good copy, None where there is none, and what is used in place of the file."""
        try:
            data = bounded(self.folder / (OVERRIDES + LAST_GOOD))
            if data is None:
                return None, "there is no last good copy, so the whole file is ignored"
            kept = parse_overrides(data, self.deployment)
        except (OSError, ValueError) as error:
            return None, f"its last good copy cannot be read either ({_why(error)}), so the whole file is ignored"
        count = len(overrides_of(kept))
        return kept, f"the last good copy is used instead ({OVERRIDES}{LAST_GOOD}, overrides: {count})"

    def _last_good_plan(self) -> tuple[Plan | None, str]:
        """The plan of the last good copy, None where there is none, and what is used in place of the file."""
        try:
            kept = self._parsed_plan(PLAN + LAST_GOOD)
        except (OSError, ValueError) as error:
            return None, f"its last good copy cannot be read either ({_why(error)})"
        if kept is None:
            return None, "there is no last good copy"
        return kept, f"the last good copy is used instead ({PLAN}{LAST_GOOD}, version {kept.version})"

    def _parsed_plan(self, name: str) -> Plan | None:
        data = bounded(self.folder / name)
        if data is None:
            return None
        plan = from_bytes(data)
        if plan.deployment != self.deployment:
            raise PlanUnreadable(f"it is of deployment {plan.deployment!r}, expected {self.deployment!r}")
        return plan

    def _parsed_overrides(self) -> tuple[Word, ...]:
        data = bounded(self.overrides_path)
        return () if data is None else parse_overrides(data, self.deployment)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.folder / LOCK
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refusal(path, error) from error
        try:
            self._give_to_owner(handle)
            deadline = time.monotonic() + LOCK_WAIT_S
            while not _lock(handle):
                if time.monotonic() > deadline:
                    raise StateError(f"{path}: another process has held the lock for {LOCK_WAIT_S:.0f} s")
                time.sleep(0.02)
            yield
        finally:
            os.close(handle)

    def _replace(self, name: str, data: bytes, *, sync: bool = True) -> None:
        """Write a file whole: beside, synced, renamed, and the folder synced."""
        self.create()
        path = self.folder / name
        beside = self.folder / f".{name}.new"
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                self._give_to_owner(handle)
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(handle)
            beside.replace(path)
            if sync:
                _sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise _refusal(path, error) from error

    def _give_to_owner(self, handle: int) -> None:
        owner = self.folder.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.fchown(handle, owner.st_uid, owner.st_gid)

    def _set_aside(self, name: str, *, stay: bool = False) -> str:
        """Keep the file as `NAME.bad`; with `stay` also where it is, so that it is never missing before the next."""
        path, bad = self.folder / name, self.folder / f"{name}.bad"
        try:
            if stay:
                with suppress(OSError):  # a file system without links
                    bad.unlink(missing_ok=True)
                    bad.hardlink_to(path)
                    return f"set aside as {bad.name}"
            path.replace(bad)
        except OSError as error:
            return f"it stays where it is ({error.strerror})"
        return f"set aside as {bad.name}"


def _by_target(words: Iterable[Word]) -> dict[str, Word]:
    return {word.target: word for word in words}


def bounded(path: Path) -> bytes | None:
    """The file's bytes, None where there is none.  Raises OSError, and ValueError for a file too large to be ours."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_FILE:
        raise ValueError(f"it is larger than {MAX_FILE >> 20} MB")
    return data


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _why(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _refusal(path: Path, error: OSError) -> StateError:
    return StateError(f"{path}: {_why(error)}; nothing was changed")
