"""One record's value in octoDNS's YAML -> record data in presentation form.  Pure.

Source: octoDNS, docs/records.md and octodns/record/*.py for field names, older names of a field, and escapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gslb.config.problem import one_of
from gslb.config.source import ListNode, MapNode, Node, Scalar, shown


class Unfit(ValueError):
    """A value is not what its type needs.  `node` is the part that is wrong."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.node = node
        self.message = message


def _number(most: int) -> Callable[[Scalar], str]:
    def convert(scalar: Scalar) -> str:
        if not scalar.text.isascii() or not scalar.text.isdigit() or int(scalar.text[:12]) > most:
            raise Unfit(scalar, f"{shown(scalar)} - expected a whole number from 0 to {most}")
        return scalar.text

    return convert


def _host(scalar: Scalar) -> str:
    if not scalar.text.endswith(".") or any(character.isspace() for character in scalar.text):
        raise Unfit(scalar, f"{shown(scalar)} - expected a full name with a final dot")
    return scalar.text.replace(";", "\\;").replace('"', '\\"').replace("(", "\\(").replace(")", "\\)")


def _hexadecimal(scalar: Scalar) -> str:
    try:
        bytes.fromhex(scalar.text)
    except ValueError:
        raise Unfit(scalar, f"{shown(scalar)} - expected hexadecimal digits") from None
    return "".join(scalar.text.split())


def _word(scalar: Scalar) -> str:
    if not scalar.text.isascii() or not scalar.text.isalnum():
        raise Unfit(scalar, f"{shown(scalar)} - expected a word of letters and digits")
    return scalar.text


def _quoted(scalar: Scalar) -> str:
    return quoted(scalar.text, scalar)


def quoted(text: str, node: Node) -> str:
    """A character-string (RFC 1035 section 5.1) in quotes; only printable ASCII, as in octoDNS."""
    if not text.isascii() or not text.isprintable():
        raise Unfit(node, f"{shown(node)} - expected printable ASCII text")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structured type: its names (octoDNS's, then older ones) and its text."""

    names: tuple[str, ...]
    convert: Callable[[Scalar], str]
    default: str | None = None


_8, _16, _32 = _number(255), _number(65535), _number(2**32 - 1)

STRUCTURED: Mapping[str, tuple[Field, ...]] = {
    "CAA": (Field(("flags",), _8, "0"), Field(("tag",), _word), Field(("value",), _quoted)),
    "DS": (
        Field(("key_tag",), _16),
        Field(("algorithm",), _8),
        Field(("digest_type",), _8),
        Field(("digest",), _hexadecimal),
    ),
    "MX": (Field(("preference", "priority"), _16), Field(("exchange", "value"), _host)),
    "NAPTR": (
        Field(("order",), _16),
        Field(("preference",), _16),
        Field(("flags",), _quoted),
        Field(("service",), _quoted),
        Field(("regexp",), _quoted),
        Field(("replacement",), _host),
    ),
    "SOA": (
        Field(("mname",), _host),
        Field(("rname",), _host),
        Field(("serial",), _32, "1"),
        Field(("refresh",), _32, "7200"),
        Field(("retry",), _32, "900"),
        Field(("expire",), _32, "1209600"),
        Field(("minimum",), _32, "60"),
    ),
    "SRV": (
        Field(("priority",), _16),
        Field(("weight",), _16),
        Field(("port",), _16),
        Field(("target",), _host),
    ),
    "SSHFP": (Field(("algorithm",), _8), Field(("fingerprint_type",), _8), Field(("fingerprint",), _hexadecimal)),
    "TLSA": (
        Field(("certificate_usage",), _8),
        Field(("selector",), _8),
        Field(("matching_type",), _8),
        Field(("certificate_association_data",), _hexadecimal),
    ),
}
PLAIN: Mapping[str, Callable[[Scalar], str]] = {
    "CNAME": _host,
    "DNAME": _host,
    "NS": _host,
    "PTR": _host,
}
ADDRESSES = ("A", "AAAA")
SERVICE_BINDINGS = ("HTTPS", "SVCB")
TYPES = tuple(sorted((*ADDRESSES, *STRUCTURED, *PLAIN, *SERVICE_BINDINGS, "TXT")))
SINGLE = frozenset(("CNAME", "DNAME", "SOA"))  # one value, never a list
_BINDING = (Field(("svcpriority",), _16), Field(("targetname",), _host))


def presentation(rtype: str, node: Node) -> str:
    """The value's text in presentation form.  Raises Unfit."""
    if rtype in PLAIN:
        return PLAIN[rtype](_scalar(node))
    if rtype == "TXT":
        return _text(_scalar(node))
    if not isinstance(node, MapNode):
        fields = STRUCTURED.get(rtype, _BINDING)
        names = ", ".join(field.names[0] for field in fields)
        raise Unfit(node, f"{shown(node)} - expected a mapping with {names}")
    if rtype in SERVICE_BINDINGS:
        return _binding(node)
    return _fields(node, STRUCTURED[rtype], ())


def address(rtype: str, node: Node) -> bytes:
    """The record data of an A or AAAA value.  Raises Unfit."""
    scalar = _scalar(node)
    try:
        if rtype == "A":
            return IPv4Address(scalar.text).packed
        found = IPv6Address(scalar.text)
        if found.scope_id is None:
            return found.packed
    except ValueError:
        pass
    raise Unfit(node, f"{shown(node)} - expected an IPv{4 if rtype == 'A' else 6} address")


def _scalar(node: Node) -> Scalar:
    if not isinstance(node, Scalar) or node.value is None:
        raise Unfit(node, f"{shown(node)} - expected one value")
    return node


def _fields(node: MapNode, fields: tuple[Field, ...], others: tuple[str, ...]) -> str:
    known = {name for field in fields for name in field.names} | set(others)
    for name, entry in node.entries.items():
        if name not in known:
            raise Unfit(entry.key, f"unknown field {shown(entry.key)} - {one_of(sorted(known), name)}")
    words: list[str] = []
    for field in fields:
        given = next((name for name in field.names if name in node.entries), None)
        if given is not None:
            words.append(field.convert(_scalar(node.entries[given].value)))
        elif field.default is not None:
            words.append(field.default)
        else:
            raise Unfit(node, f"{field.names[0]} is missing")
    return " ".join(words)


def _text(scalar: Scalar) -> str:
    """octoDNS's TXT: `;` is written `\\;`, and a value may be written in quoted chunks already."""
    text = scalar.text
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = text[1:-1].replace('" "', "")
    if ";" in text.replace("\\;", ""):
        raise Unfit(scalar, f"{shown(scalar)} - expected \\; in place of ;")
    text = text.replace("\\;", ";")
    chunks = [text[start : start + 255] for start in range(0, len(text), 255)] or [""]
    return " ".join(quoted(chunk, scalar) for chunk in chunks)


def _binding(node: MapNode) -> str:
    text = _fields(node, _BINDING, ("svcparams",))
    entry = node.entries.get("svcparams")
    if entry is None:
        return text
    if not isinstance(entry.value, MapNode):
        raise Unfit(entry.value, f"{shown(entry.value)} - expected a mapping of parameters, such as {{alpn: [h2]}}")
    for name, parameter in entry.value.entries.items():
        text += f" {_parameter_name(parameter.key, name)}{_parameter(parameter.value)}"
    return text


def _parameter_name(key: Scalar, name: str) -> str:
    if not name.isascii() or not name.replace("-", "").isalnum():
        raise Unfit(key, f"{shown(key)} - expected the name of a service parameter (RFC 9460 section 14.3.2)")
    return name


def _parameter(node: Node) -> str:
    """`="value"`, with commas between the items of a list; nothing for a parameter without a value."""
    match node:
        case Scalar(value=None):
            return ""
        case Scalar():
            return "=" + quoted(node.text, node)
        case ListNode():
            return "=" + quoted(",".join(_scalar(item).text for item in node.items), node)
        case MapNode():
            raise Unfit(node, f"{shown(node)} - expected a value or a list")
