"""IO: a configuration file and its zone files -> a checked deployment, all or nothing.

Paths in the file start at the file's own folder.  Files are read once; what is read here is what was checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from gslb.config.draft import Draft
from gslb.config.kinds import Reported
from gslb.config.origin import Copy, Disk, Origin
from gslb.config.problem import Problem, Problems, Refused, Where
from gslb.config.read import read
from gslb.config.rules import judge
from gslb.config.source import Unreadable, decode, parse
from gslb.config.zonedraft import ZoneDraft, zone_of
from gslb.config.zonefile import read_master
from gslb.config.zoneyaml import read_yaml
from gslb.model.bgp import Bgp
from gslb.model.deployment import Deployment
from gslb.model.zone import Zone


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration without errors.

    `files` are all files that were read and all folders in which zone files were looked for: what to watch.
    `digest` changes with any of the files' contents; 32 hex digits.  `copy` is what was read, to load it again.
    """

    deployment: Deployment
    zones: tuple[Zone, ...]
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...]
    digest: str
    copy: Copy = field(repr=False, compare=False)


def load(path: Path) -> Loaded:
    """Read and check everything.  Raises Refused, which carries every problem found."""
    disk = Disk()
    return _load(path, disk, lambda: disk.copy(path))


def load_copy(copy: Copy) -> Loaded:
    """What `load` gave when the copy was made, whatever its files say now.  Raises Refused."""
    return _load(copy.config, copy, lambda: copy)


def _load(path: Path, origin: Origin, copy: Callable[[], Copy]) -> Loaded:
    loader = _Loader(path, origin)
    try:
        draft = loader.read()
    except Reported:
        draft = None
    problems = loader.problems.sorted()
    if draft is None or loader.problems.failed:
        raise Refused(problems, loader.files)
    ttl_of = {str(name): policy.ttl_max for name, policy in draft.deployment.policies.items()}
    zones = tuple(zone_of(zone, ttl_of) for zone in draft.zones)
    return Loaded(draft.deployment, zones, problems, tuple(loader.files), loader.digest(), copy())


class _Loader:
    """Reads files, each once, and remembers which."""

    def __init__(self, path: Path, origin: Origin) -> None:
        self.problems = Problems()
        self.files: dict[Path, None] = {}
        self._path = path
        self._origin = origin
        self._folder = path.parent
        self._hash = blake2b(digest_size=16)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def read(self) -> Draft:
        """The judged draft of everything.  Raises Reported."""
        try:
            document = parse(self._text(self._path), str(self._path), self.problems)
        except Unreadable as error:
            self._refuse(error)
            raise Reported from error
        draft, patterns = read(document, self.problems)
        geo = replace(draft.deployment.geo, databases=tuple(map(self._absolute, draft.deployment.geo.databases)))
        bgp = tuple(map(self._with_whole_paths, draft.deployment.bgp))
        draft.deployment = replace(draft.deployment, geo=geo, bgp=bgp)
        draft.whole = not self.problems.damaged(("zones",))
        for file in self._zone_files(draft, patterns):
            zone = self._zone(file)
            draft.whole = draft.whole and zone is not None and not zone.broken
            if zone is not None:
                draft.zones.append(zone)
        draft.attach_records()
        draft.bound_given_soas()
        judge(draft)
        return draft

    def _with_whole_paths(self, speaker: Bgp) -> Bgp:
        neighbors = (
            neighbor if neighbor.md5_file is None else replace(neighbor, md5_file=self._absolute(neighbor.md5_file))
            for neighbor in speaker.neighbors
        )
        return replace(speaker, neighbors=tuple(neighbors))

    def _absolute(self, written: str) -> str:
        return str(self._folder / _home(written))

    def _zone_files(self, draft: Draft, patterns: tuple[str, ...]) -> list[Path]:
        """The files that the patterns match, in the order of patterns and names."""
        found: dict[Path, None] = {}
        for number, pattern in enumerate(patterns):
            whole = self._folder / _home(pattern)
            parts = whole.parts
            wild = next((at for at, part in enumerate(parts) if "*" in part or "?" in part), len(parts) - 1)
            folder = Path(*parts[:wild])
            self.files[folder] = None
            problem = None
            if "**" in parts or not parts[wild:]:
                problem = "expected a file or a pattern with * and ?"
            else:
                files, folders = self._origin.matching(pattern, folder, str(Path(*parts[wild:])))
                found.update((file, None) for file in files)
                if not files:
                    problem = "no such file, only a folder" if folders else "no such file"
                named = (file for file in folders if not problem and file.suffix in (".zone", ".yaml"))
                draft.judge(draft.warning(("zones", number), f"{file} is a folder: passed over") for file in named)
            if problem:
                draft.whole = False
                draft.judge(iter((draft.error(("zones", number), problem),)))
        return list(found)

    def _zone(self, file: Path) -> ZoneDraft | None:
        try:
            if file.suffix == ".zone":
                return read_master(self._text(file), str(file), file.stem, self._included, self.problems)
            if file.suffix == ".yaml":
                return read_yaml(parse(self._text(file), str(file), self.problems), str(file), file.stem, self.problems)
            raise Unreadable(Where(str(file)), "expected a name that ends in .zone or .yaml")
        except Unreadable as error:
            self._refuse(error)
            return None

    def _included(self, including: str, name: str) -> tuple[str, str]:
        """`$INCLUDE`: a path starts at the folder of the file that includes it."""
        file = Path(including).parent / _home(name)
        return str(file), self._text(file)

    def _text(self, file: Path) -> str:
        """The text of a file.  Raises Unreadable."""
        self.files[file] = None
        data = self._origin.read(file)
        self._hash.update(len(data).to_bytes(8, "big") + data)
        return decode(data, str(file))

    def _refuse(self, error: Unreadable) -> None:
        self.problems.add(Problem(error.where, "", error.message))


def _home(written: str) -> Path:
    """The path with `~` expanded, as written where there is no such home."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)
