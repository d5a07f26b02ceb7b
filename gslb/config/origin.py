"""Where the files of a configuration are read: on disk, or in a copy of what was read there.  IO.

From its copy a configuration is loaded again, with all checks, though its files have changed since.  Files keep their names in
it, so what starts at the configuration's folder (databases, secret, token) is found where it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gslb.config.problem import Where
from gslb.config.source import Unreadable

MAX_OCTETS = 256 << 20  # of one file


class Origin(Protocol):
    """Files, and which of them a pattern matches."""

    def read(self, file: Path) -> bytes:
        """The whole file.  Raises Unreadable."""

    def matching(self, pattern: str, folder: Path, wild: str) -> tuple[list[Path], list[Path]]:
        """The files and the folders that `pattern`, which is `wild` below `folder`, matches; both sorted."""


class Disk:
    """The files as they are now; what was read is remembered for a copy."""

    def __init__(self) -> None:
        self._octets: dict[str, bytes] = {}
        self._matched: dict[str, tuple[str, ...]] = {}

    def read(self, file: Path) -> bytes:
        """The whole file.  Raises Unreadable."""
        special = False
        try:
            special = file.exists() and not file.is_file()  # a pipe would never end
            data = b""
            if not special:
                with file.open("rb") as stream:
                    data = stream.read(MAX_OCTETS + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such file"
            raise Unreadable(Where(str(file)), f"cannot be read: {reason}") from error
        if special:
            raise Unreadable(Where(str(file)), "cannot be read: no regular file")
        if len(data) > MAX_OCTETS:
            raise Unreadable(Where(str(file)), f"more than {MAX_OCTETS >> 20} MiB")
        self._octets[_name(file)] = data
        return data

    def matching(self, pattern: str, folder: Path, wild: str) -> tuple[list[Path], list[Path]]:
        """The files and the folders that the pattern matches; both sorted."""
        found = sorted(folder.glob(wild))
        folders = {path: None for path in found if path.is_dir()}
        files = [path for path in found if path not in folders]
        self._matched[pattern] = tuple(map(_name, files))
        return files, list(folders)

    def copy(self, config: Path) -> Copy:
        """All that was read for `config`."""
        return Copy(Path(_name(config)), self._octets, self._matched)


@dataclass(frozen=True, slots=True)
class Copy:
    """What was read for `config`: octets by absolute path, and the absolute paths that each pattern, as written, matched."""

    config: Path
    octets: Mapping[str, bytes]
    matched: Mapping[str, tuple[str, ...]]

    def read(self, file: Path) -> bytes:
        """The whole file as it was.  Raises Unreadable."""
        try:
            return self.octets[_name(file)]
        except KeyError:
            raise Unreadable(Where(str(file)), "not in the copy of the configuration in force") from None

    def matching(self, pattern: str, folder: Path, wild: str) -> tuple[list[Path], list[Path]]:
        """The files that the pattern matched, and no folders."""
        del folder, wild  # they were looked at when the copy was made
        return [Path(name) for name in self.matched.get(pattern, ())], []


def _name(file: Path) -> str:
    """The file's path, whatever folder a process works in."""
    return os.fspath(file.absolute())
