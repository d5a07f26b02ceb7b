"""Keys, and one mapping of the configuration that is being read by them.

Rule 1: a `Key` is the one source of a key's name, kind, default and meaning: for the reader, for the message about
an unknown key, and for docs/config.md.
Rule 2: a default is written as the operator would write it and read by the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from gslb.config.kinds import NAME_PATTERN, SECTION, Kind, Reported
from gslb.config.problem import KeyPath, Problem, Problems, nearest, one_of, path_text
from gslb.config.source import Entry, MapNode, Node, Scalar, parse, shown

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Key(Generic[T]):
    """One key of the configuration.

    `path` has `*` for a name and `[]` for a list's item; `default` is YAML text, None where there is none.
    """

    path: str
    kind: Kind[T]
    meaning: str
    default: str | None = None
    required: bool = False

    @property
    def name(self) -> str:
        """The key's own name, the last part of its path."""
        return self.path.rpartition(".")[2]


class Section:
    """One mapping, read by its `keys`: every unknown key and every wrong value is reported when it is made.

    Raises Reported when `node` is no mapping.
    """

    def __init__(self, node: Node, path: KeyPath, keys: Sequence[Key[Any]], problems: Problems) -> None:
        self.node = SECTION.read(node, path, problems)
        self.path = path
        self.problems = problems
        self._values: dict[str, object] = {}
        by_name = {key.name: key for key in keys}
        for name, entry in self.node.entries.items():
            if name in by_name:
                self._take(by_name[name], entry)
            else:
                problems.error(entry.key.where, (*path, name), f"unknown key - {one_of(by_name, name)}")
                meant = nearest(name, by_name)
                if meant is not None:
                    problems.damage((*path, meant))
        for key in keys:
            if key.required and key.name not in self.node.entries and not problems.damaged((*path, key.name)):
                problems.error(self.node.where, (*path, key.name), f"missing - required ({key.kind.name})")

    def _take(self, key: Key[Any], entry: Entry) -> None:
        try:
            self._values[key.name] = key.kind.read(entry.value, (*self.path, key.name), self.problems)
        except Reported:
            return

    def get(self, key: Key[T]) -> T:
        """The key's value or default.  Raises Reported for a required key that is missing or wrong."""
        value = self.maybe(key)
        if value is not None:
            return value
        if key.default is None:
            raise Reported
        return cast(T, _default(key))

    def maybe(self, key: Key[T]) -> T | None:
        """The key's value; None where it is absent or wrong."""
        return cast(T | None, self._values.get(key.name))

    def wrong(self, key: Key[Any]) -> bool:
        """Whether the key is written and has no usable value."""
        return key.name in self.node.entries and key.name not in self._values

    def says(self, key: Key[Any], word: str) -> bool:
        """Whether `word` is what is written for the key."""
        entry = self.node.entries.get(key.name)
        return entry is not None and isinstance(entry.value, Scalar) and entry.value.text == word

    def either(self, one: Key[Any], other: Key[Any]) -> None:
        """Report two keys that are written and exclude one another, at the second."""
        entries = self.node.entries
        if one.name in entries and other.name in entries:
            where = entries[other.name].key.where
            message = f"given beside {one.name} - expected one of them"
            self.problems.error(where, (*self.path, other.name), message)

    def below(self, key: Key[MapNode], keys: Sequence[Key[Any]], read: Callable[[Section], R]) -> R | None:
        """What `read` makes of the mapping under `key`; None where it is absent or cannot be read."""
        node = self.maybe(key)
        if node is None:
            return None
        try:
            return read(Section(node, (*self.path, key.name), keys, self.problems))
        except Reported:
            return None

    def defaulted(self, key: Key[MapNode], keys: Sequence[Key[Any]], read: Callable[[Section], R]) -> R:
        """As `below`; an absent or unreadable mapping gives the defaults of all its keys."""
        found = self.below(key, keys, read)
        if found is not None:
            return found
        return read(Section(MapNode({}, self.node.where), (*self.path, key.name), keys, Problems()))

    def named(self, key: Key[MapNode], keys: Sequence[Key[Any]], read: Callable[[str, Section], R]) -> dict[str, R]:
        """What `read` makes of each named mapping under `key`; those that cannot be read are left out."""
        node = self.maybe(key)
        found: dict[str, R] = {}
        for name, entry in node.entries.items() if node else ():
            path = (*self.path, key.name, name)
            if not NAME_PATTERN.fullmatch(name):
                message = f"{shown(entry.key)} - expected a name of letters, digits, - and _, at most 63"
                self.problems.add(Problem(entry.key.where, path_text((*self.path, key.name)), message), path)
                continue
            try:
                found[name] = read(name, Section(entry.value, path, keys, self.problems))
            except Reported:
                continue
        return found

    def each(
        self, key: Key[tuple[Node, ...]], keys: Sequence[Key[Any]], read: Callable[[Section], R]
    ) -> tuple[R | None, ...]:
        """What `read` makes of each mapping in the list under `key`, None for one that cannot be read.  Raises Reported."""
        found: list[R | None] = []
        nodes = self.get(key)
        for number, node in enumerate(nodes):
            try:
                found.append(read(Section(node, (*self.path, key.name, number), keys, self.problems)))
            except Reported:
                found.append(None)
        return tuple(found)


@lru_cache(maxsize=1024)
def _default(key: Key[Any]) -> object:
    problems = Problems()
    assert key.default is not None
    return key.kind.read(parse(key.default, key.path, problems), (), problems)
