"""DNS in the driver over a scene's image, in a pin folder of its own: frames in, frames out.  IO: the kernel; needs root.

Rule: nothing is attached; what is put in force and asked goes by the code that a node runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path

from gslb.model.deployment import Attach
from tests.nameserver.imagescene import Scene
from xdp import asking
from xdp.answers import Answers
from xdp.loader import DataPlane, remove
from xdp.machine import Own
from xdp.messages import DnsFile, DnsState, DnsTables, DnsWant

V4, V6, PORT = "198.51.100.53", "2001:db8:a::53", 53
OWN = Own(frozenset({asking.TO}), frozenset({ip_address("203.0.113.255").packed}))
ADDRESSES = ((V4, PORT), (V6, PORT))


class DnsPlane:
    """A plane that answers."""

    def __init__(self, plane: DataPlane, folder: Path) -> None:
        self.plane = plane
        self.own = OWN
        self.answers = Answers(plane, lambda: self.own)
        self._folder = folder

    def put(self, scene: Scene, addresses: Sequence[tuple[str, int]] = ADDRESSES) -> DnsState:
        """Answer from this scene."""
        want = wanted(self._folder, scene.file, scene.geography, addresses)
        state = self.answers.want(want, 0.0)
        assert state is not None
        assert (state.refused, state.problems) == ("", ())
        return state

    def run(self, frame: bytes) -> tuple[int, bytes]:
        """What becomes of a frame."""
        return self.plane.run(frame)


def wanted(
    folder: Path, image: bytes, geography: bytes, addresses: Sequence[tuple[str, int]] = ADDRESSES, probe: str = ""
) -> DnsWant:
    """What is to be answered, with its files written into `folder`."""
    tables = DnsTables(_file(folder, "image", image), _file(folder, "geography", geography))
    return DnsWant(tables, tuple(addresses), (), Attach.OFF, probe)


def _file(folder: Path, kind: str, content: bytes) -> DnsFile:
    digest = blake2b(content, digest_size=16).hexdigest()
    path = folder / f"{kind}-{digest}"
    path.write_bytes(content)
    return DnsFile(str(path), len(content), digest)


@contextmanager
def dns_plane(home: Path, objects: Path, folder: Path) -> Iterator[DnsPlane]:
    """A plane with DNS and without a balancer, gone afterwards."""
    plane = DataPlane.open(home, objects, programs=())
    try:
        yield DnsPlane(plane, folder)
    finally:
        plane.close()
        remove(home)
