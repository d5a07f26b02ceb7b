"""NKEYS, the Ed25519 keys of NATS: seeds and files of credentials.  IO: they are read from files.

Standards: docs.nats.io "NKEYS" and github.com/nats-io/nkeys (base32 without padding; two octets of prefix, the key, CRC-16/XMODEM).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_MOST = 64 << 10  # octets of a file
_SEED, _USER = 18 << 3, 20 << 3  # "S" and "U"
_JWT = re.compile(rb"-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT-+")
_NKEY = re.compile(rb"-----BEGIN USER NKEY SEED-----\s+(\S+)\s+-+END USER NKEY SEED-+")


class BadKey(Exception):
    """A file holds no key that can be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A user's key."""

    private: Ed25519PrivateKey
    public: str  # U...

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, in base64."""
        return base64.b64encode(self.private.sign(nonce.encode()))


def read_seed(path: Path) -> KeyPair:
    """The key of a file that holds a user's seed (SU...).  Raises BadKey."""
    return _pair(path, _read(path).strip())


def read_credentials(path: Path) -> tuple[KeyPair, bytes]:
    """The key and the token (JWT) of a file of credentials.  Raises BadKey."""
    text = _read(path)
    token, seed = _JWT.search(text), _NKEY.search(text)
    if token is None or seed is None:
        raise BadKey(f"{path}: expected a file of credentials with a NATS USER JWT and a USER NKEY SEED")
    return _pair(path, seed[1]), token[1]


def encode(prefix: bytes, key: bytes) -> str:
    """A key in text."""
    raw = prefix + key
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _pair(path: Path, seed: bytes) -> KeyPair:
    try:
        raw = base64.b32decode(seed + b"=" * (-len(seed) % 8))
    except binascii.Error:
        raw = b""
    if len(raw) != 36 or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise BadKey(f"{path}: expected the seed of an NKEY: SU and 56 more letters and digits")
    if raw[0] & 0xF8 != _SEED or ((raw[0] & 7) << 5 | raw[1] >> 3) != _USER:
        raise BadKey(f"{path}: the seed is not that of a user: expected one that begins with SU")
    private = Ed25519PrivateKey.from_private_bytes(raw[2:34])
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return KeyPair(private, encode(bytes([_USER]), public))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}") from error
