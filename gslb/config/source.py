"""YAML text -> nodes that know their place.  Pure.

Rule 1: scalars are those of YAML 1.2's core schema (chapter 10.3), not of YAML 1.1: `NO`, `on` and `yes` are
words, `010` is ten, `1:30` and `2026-01-01` are words.
Rule 2: every scalar, list and mapping carries file, line and column.
Rule 3: size, depth and number of nodes are bounded, with aliases counted as often as they are used.

PyYAML gives the events (YAML 1.1's syntax, which differs from 1.2's in nothing that a configuration uses).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from gslb.config.problem import KeyPath, Problems, Where, printable

MAX_DEPTH = 50
MAX_NODES = 4_000_000  # about 500 000 records in the octoDNS layout

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,5})?")
_WORDS: Mapping[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_TAG = "tag:yaml.org,2002:"

Value = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value.  `text` is as written, without quotes."""

    value: Value
    text: str
    where: Where


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list."""

    items: tuple[Node, ...]
    where: Where


@dataclass(frozen=True, slots=True)
class Entry:
    """One key and its value."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping, in the order of the file.  Keys are texts, also where they look like numbers."""

    entries: Mapping[str, Entry]
    where: Where


Node = Scalar | ListNode | MapNode


class Unreadable(ValueError):
    """The text is no YAML document that is accepted here; one problem says why."""

    def __init__(self, where: Where, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message


def decode(data: bytes, file: str) -> str:
    """UTF-8 text without a byte order mark.  Raises Unreadable with the place of the first octet that does not fit."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        raise Unreadable(_place(before, file), f"octet 0x{data[error.start]:02x} - expected UTF-8 text") from error
    nul = text.find("\0")
    if nul >= 0:
        raise Unreadable(_place(text[:nul], file), "a NUL octet - expected text")
    return text


def parse(text: str, file: str, problems: Problems) -> Node:
    """The one document of `text`.  Duplicate keys and unknown tags go to `problems`.  Raises Unreadable."""
    try:
        return _Composer(file, problems).compose(yaml.parse(text, Loader=_LOADER))
    except yaml.reader.ReaderError as error:
        where = _place(text[: error.position], file)
        raise Unreadable(where, "control character - expected printable text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Where(file, mark.line + 1, mark.column + 1) if mark else Where(file)
        line = (text.splitlines() or [""])[mark.line : mark.line + 1] if mark else []
        if line and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]:
            raise Unreadable(where, "a tab in the indentation - expected spaces") from error
        context = f" {error.context}" if error.context else ""
        raise Unreadable(where, f"not YAML: {error.problem}{context}") from error
    except yaml.YAMLError as error:
        raise Unreadable(Where(file), f"not YAML: {error}") from error


def shown(node: Node, limit: int = 60) -> str:
    """The node's text for a message, on one line and cut to `limit` characters."""
    text = _flow(node, limit)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def find(root: Node, path: KeyPath) -> Node:
    """The node at `path`, or the last one on the way there."""
    node = root
    for part in path:
        match node, part:
            case MapNode(), str() if part in node.entries:
                node = node.entries[part].value
            case ListNode(), int() if part < len(node.items):
                node = node.items[part]
            case _:
                break
    return node


def _flow(node: Node, limit: int) -> str:
    match node:
        case Scalar():
            return printable(node.text) if node.text else '""'
        case ListNode():
            return "[" + ", ".join(shown(item, limit) for item in node.items[:8]) + "]"
        case MapNode():
            entries = list(node.entries.items())[:8]
            return "{" + ", ".join(f"{key}: {shown(entry.value, limit)}" for key, entry in entries) + "}"


def _place(before: str, file: str) -> Where:
    return Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _plain(text: str) -> Value:
    """A plain scalar by the core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not met yet."""

    where: Where
    path: KeyPath
    anchor: str | None
    keyed: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    key: Scalar | None = None
    size: int = 1


class _Composer:
    """Builds nodes from events with a stack of its own: depth costs no recursion."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._root: Node | None = None
        self._nodes = 0

    def compose(self, events: Iterator[yaml.Event]) -> Node:
        documents = 0
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise Unreadable(self._where(event), "a second document - expected one document in a file")
                case yaml.ScalarEvent():
                    self._finish(self._scalar(event), event.anchor, 1)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._begin(event)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._end()
                case _:
                    pass  # start and end of the stream, end of the document
        return self._root or Scalar(None, "", Where(self._file, 1, 1))

    def _where(self, event: yaml.Event) -> Where:
        mark = event.start_mark
        return Where(self._file, mark.line + 1, mark.column + 1) if mark else Where(self._file)

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        where, text = self._where(event), event.value
        tag = event.tag
        if tag is None or tag == "!":
            return Scalar(_plain(text) if event.implicit[0] else text, text, where)
        if tag == f"{_TAG}str":
            return Scalar(text, text, where)
        if tag in (f"{_TAG}int", f"{_TAG}float", f"{_TAG}bool", f"{_TAG}null"):
            return Scalar(_plain(text), text, where)
        self._problems.error(where, self._path(), f"tag {tag.replace(_TAG, '!!')} - expected a plain value")
        return Scalar(text, text, where)

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        where = self._where(event)
        if len(self._stack) >= MAX_DEPTH:
            raise Unreadable(where, f"nested deeper than {MAX_DEPTH} levels")
        keyed = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_TAG}map" if keyed else f"{_TAG}seq"):
            self._problems.error(where, self._path(), f"tag {event.tag.replace(_TAG, '!!')} - expected a plain value")
        self._stack.append(_Open(where, self._path(), event.anchor, keyed))

    def _end(self) -> None:
        done = self._stack.pop()
        node: Node = MapNode(done.entries, done.where) if done.keyed else ListNode(tuple(done.items), done.where)
        self._finish(node, done.anchor, done.size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise Unreadable(self._where(event), f"alias *{event.anchor} - expected the name of an earlier anchor")
        node, size = self._anchors[event.anchor]
        self._finish(node, None, size)

    def _finish(self, node: Node, anchor: str | None, size: int) -> None:
        """Hand a complete node to what holds it.  `size` counts nodes as often as aliases repeat them."""
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self._stack:
            self._root = node
            return
        holder = self._stack[-1]
        holder.size += size
        if holder.size > MAX_NODES:
            raise Unreadable(node.where, f"more than {MAX_NODES} values, aliases counted as often as they are used")
        if not holder.keyed:
            holder.items.append(node)
        elif holder.key is None:
            if not isinstance(node, Scalar):
                raise Unreadable(node.where, f"{shown(node)} as a key - expected a word")
            holder.key = node
        else:
            self._enter(holder, holder.key, node)
            holder.key = None

    def _enter(self, holder: _Open, key: Scalar, node: Node) -> None:
        earlier = holder.entries.get(key.text)
        if earlier is None:
            holder.entries[key.text] = Entry(key, node)
        else:
            message = f"given twice - the first is at line {earlier.key.where.line}"
            self._problems.error(key.where, (*holder.path, key.text), message)

    def _path(self) -> KeyPath:
        if not self._stack:
            return ()
        holder = self._stack[-1]
        if not holder.keyed:
            return (*holder.path, len(holder.items))
        return (*holder.path, holder.key.text) if holder.key else holder.path
