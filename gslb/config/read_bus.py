"""What nodes tell one another by: the NATS servers, and how a node shows who it is."""

from __future__ import annotations

from urllib.parse import urlsplit

from gslb.config.kinds import ENVIRONMENT, SECTION, TEXT, Kind, Reported, many
from gslb.config.problem import KeyPath, Problems
from gslb.config.section import Key, Section
from gslb.config.source import Node, Scalar, shown
from gslb.model.deployment import Bus, BusTls

_EXPECTED = "expected a URL such as nats://192.0.2.5:4222 or tls://nats.example.net:4222"
_NEITHER = "holds a user or a password - expected neither: bus.user with bus.password_file, or bus.token_file"


def _read_nats(node: Node, path: KeyPath, problems: Problems) -> str:
    """A URL; one that holds a password is not repeated in the message."""
    text = node.text if isinstance(node, Scalar) else ""
    if "@" in text:
        problems.error(node.where, path, _NEITHER)
    elif _is_nats(text):
        return text
    else:
        problems.error(node.where, path, f"{shown(node)} - {_EXPECTED}")
    raise Reported


def _is_nats(text: str) -> bool:
    try:
        url = urlsplit(text)  # ValueError where brackets do not match, or the port is no number
        known = url.scheme in ("nats", "tls") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return (
        known and text.partition("://")[2] == url.netloc and text.isascii() and text.isprintable() and " " not in text
    )


NATS: Kind[str] = Kind("NATS URL", _read_nats)

BUS = Key("bus", SECTION, "What nodes tell one another by; without it each node is alone.")
NATS_URLS = Key(
    "bus.nats",
    many(NATS, least=1, most=32),
    "The NATS servers, all of the cluster; a node takes the nearest that answers. tls: a line that is not encrypted is refused.",
    required=True,
)
USER = Key("bus.user", TEXT, "Name of the user.")
PASSWORD_ENV = Key("bus.password_env", ENVIRONMENT, "Variable with the user's password.")
PASSWORD_FILE = Key("bus.password_file", TEXT, "File with the user's password.")
TOKEN_ENV = Key("bus.token_env", ENVIRONMENT, "Variable with a token, where the servers know no users.")
TOKEN_FILE = Key("bus.token_file", TEXT, "File with that token.")
CREDENTIALS_FILE = Key(
    "bus.credentials_file", TEXT, "File of credentials (.creds: a token signed for this account, and a key)."
)
NKEY_FILE = Key("bus.nkey_file", TEXT, "File with the seed of the user's key (SU...).")
TLS = Key("bus.tls", SECTION, "TLS to the servers; a line that is not encrypted is refused.")
CA_FILE = Key("bus.tls.ca_file", TEXT, "Authorities that sign the servers' certificates; the system's without it.")
CERT_FILE = Key("bus.tls.cert_file", TEXT, "This node's certificate, where the servers ask for one.")
KEY_FILE = Key("bus.tls.key_file", TEXT, "Its key.")

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))
_BUS = tuple(key for key in KEYS if key.path.count(".") == 1)
_TLS = (CA_FILE, CERT_FILE, KEY_FILE)
_WAYS = (USER, TOKEN_ENV, TOKEN_FILE, CREDENTIALS_FILE, NKEY_FILE)


def read_bus(root: Section) -> Bus:
    """The bus; none where it is absent or cannot be read."""
    return root.below(BUS, _BUS, _bus) or Bus()


def _bus(section: Section) -> Bus:
    given = [key.name for key in _WAYS if key.name in section.node.entries]
    for other in given[1:]:
        _wrong(section, other, f"given beside {given[0]} - expected one way to show who this node is")
    section.either(PASSWORD_ENV, PASSWORD_FILE)
    password = next((key for key in (PASSWORD_ENV, PASSWORD_FILE) if key.name in section.node.entries), None)
    if password is not None and USER.name not in section.node.entries:
        _wrong(section, password.name, "expected user beside it")
    if password is None and USER.name in section.node.entries:
        _wrong(section, USER.name, "expected password_file or password_env beside it")
    tls = section.below(TLS, _TLS, _tls)
    return Bus(
        nats=section.get(NATS_URLS),
        user=section.maybe(USER),
        password_env=section.maybe(PASSWORD_ENV),
        password_file=section.maybe(PASSWORD_FILE),
        token_env=section.maybe(TOKEN_ENV),
        token_file=section.maybe(TOKEN_FILE),
        credentials_file=section.maybe(CREDENTIALS_FILE),
        nkey_file=section.maybe(NKEY_FILE),
        tls=tls,
    )


def _tls(section: Section) -> BusTls:
    entries = section.node.entries
    for key, other in ((CERT_FILE, KEY_FILE), (KEY_FILE, CERT_FILE)):
        if key.name in entries and other.name not in entries:
            _wrong(section, key.name, f"expected {other.name} beside it")
    return BusTls(section.maybe(CA_FILE), section.maybe(CERT_FILE), section.maybe(KEY_FILE))


def _wrong(section: Section, name: str, message: str) -> None:
    section.problems.error(section.node.entries[name].key.where, (*section.path, name), message)
