"""A balancer's kernel side as files in a folder: what is in force outlives the process that put it there.

It keeps the promises of `xdp.driver.Plane`, `Filler` and `Reader`; tests/xdp/test_driver.py holds both to them.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from gslb.model.deployment import Attach
from xdp.driver import Parts
from xdp.messages import Attached, Block, Count, DnsState, DnsWant, Interface, Pulse, TableState, Want
from xdp.preflight import Refused

GENERIC = "slow0"  # an interface that has no native mode
ABSENT = "none0"
TAKEN = "taken0"  # another's program runs there while there is a file `theirs`


class FakePlane:
    """`folder` stands for the pins."""

    def __init__(self, folder: Path) -> None:
        if (folder / "refuse").exists():
            raise Refused("no such kernel here", "apt-get install one")
        self._folder = folder / "pins"
        self.adopted = self._folder.exists()
        (self._folder / "links").mkdir(parents=True, exist_ok=True)

    @property
    def pinned(self) -> bool:
        return self._folder.exists()

    def attach(self, interface: str, how: Attach, asked: str) -> Interface:  # noqa: ARG002  # the Protocol's
        if interface == ABSENT:
            return Interface(interface, Attached.NOT, "there is no such interface", "ip link")
        if interface == TAKEN and (self._folder.parent / "theirs").exists():
            return Interface(interface, Attached.NOT, "another's program runs there", "kill it", taken=True)
        generic = how is Attach.GENERIC or interface == GENERIC
        if generic and how is Attach.NATIVE:
            return Interface(interface, Attached.NOT, "its driver has no native mode")
        (self._folder / "links" / interface).write_text("generic" if generic else "native")
        return next(one for one in self.attached() if one.name == interface)

    def detach(self, interface: str) -> None:
        (self._folder / "links" / interface).unlink(missing_ok=True)

    def attached(self) -> tuple[Interface, ...]:
        links = sorted((self._folder / "links").iterdir())
        return tuple(Interface(one.name, Attached(one.read_text())) for one in links)

    def attach_probe(self, interface: str) -> None:
        if (self._folder.parent / "unprobed").exists():
            raise OSError(errno.ENOENT, "clsact is not in this kernel")
        (self._folder / f"probe-{interface}").touch()

    def take_over(self) -> None:
        (self._folder / "taken").touch()

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def close(self) -> None:
        pass


class FakeTables:
    """Tables as one file; an older version, or another deployment, is refused."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "pins" / "tables"

    refused = ""

    @property
    def version(self) -> int:
        return int(json.loads(self._file.read_text())["version"]) if self._file.exists() else 0

    @property
    def marks(self) -> Collection[int]:
        return json.loads(self._file.read_text())["marks"] if self._file.exists() else ()

    def want(self, want: Want) -> Mapping[str, TableState]:
        if want.version < self.version:
            raise ValueError(f"version {want.version} is older than {self.version}, which is in force")
        self._file.write_text(
            json.dumps(
                {"version": want.version, "tables": sorted(want.tables), "marks": [one.mark for one in want.probes]}
            )
        )
        return {pool: TableState("digest", {}) for pool in want.tables}

    def tick(self, now: float) -> Mapping[str, TableState] | None:  # noqa: ARG002  # the Protocol's
        return None


class FakeCounters:
    """Counts its calls."""

    def __init__(self) -> None:
        self._reads = 0

    def read(self) -> Pulse:
        self._reads += 1
        return Pulse(float(self._reads), 0.0, vips={"web": {"192.0.2.10 tcp/80": Count(packets=self._reads)}})


class FakeAnswers:
    """DNS in the driver as one file; refused while `folder` has a file `refuse-dns`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "pins" / "dns"
        self._want: DnsWant | None = None

    @property
    def version(self) -> int:
        return 7 if self._file.exists() else 0

    def want(self, want: DnsWant | None, now: float) -> DnsState | None:
        self._want = want
        return self.tick(now)

    def tick(self, now: float) -> DnsState | None:  # noqa: ARG002  # the Protocol's
        if self._want is None:
            self._file.unlink(missing_ok=True)
            return None
        if (self._folder / "refuse-dns").exists():
            return DnsState(refused="the verifier does not like it")
        self._file.write_text(json.dumps(self._want.addresses))
        return DnsState(version=self.version, addresses=len(self._want.addresses))

    def blocks(self) -> tuple[Block, ...]:
        return (Block("00", b"", b""),) if self._file.exists() else ()

    def queries(self) -> tuple[bytes, int]:
        return (b"", 1) if self._want is not None and self._want.one_in else (b"", 0)


def fake_parts(folder: Path) -> Parts:
    """Adopted where `folder` has pins.  Raises Refused while it has a file `refuse`; takes no probes while it has `unprobed`."""
    plane = FakePlane(folder)
    return Parts(plane, FakeTables(folder), FakeCounters(), FakeAnswers(folder))
