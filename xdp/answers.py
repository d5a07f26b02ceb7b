"""DNS in the driver: what is wanted of it is put in force, and how it stands is told.  IO: the kernel, by `Images` and the plane.

Rule 1: tables before addresses: an address is answered when there is something to answer from, and none is before.
Rule 2: what fails is a sentence in the state, and is tried again; what was in force stays.
Rule 3: frames for Ethernet addresses that are not this machine's are not answered; which are its own is looked at every LOOK_S.
Rule 4: the program is asked itself whether it answers, by a test run of what is in force: no packet is sent.  One that passes on what
it should answer is put behind the entry program anew, since somebody may have taken it away.
"""

from __future__ import annotations

import ctypes
import logging
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Protocol

from gslb.layout import MOST_BROADCASTS, MOST_DNS_ADDRESSES, MOST_ETHERNETS, DnsSettings, VipKey
from xdp import asking, images, machine
from xdp.images import Images
from xdp.libbpf import XDP_PASS, Map
from xdp.loader import DNS
from xdp.machine import Own
from xdp.messages import Block, DnsState, DnsWant
from xdp.preflight import Refused
from xdp.sampled import Sampled

ASK_S = 10.0  # between two test runs
LOOK_S = 5.0  # between two looks at the machine's own addresses
TRIES = 3  # of one: before Linux 6.11 a packet that comes in its midst takes the CPU's memory that it works with
_STEP_NS = 100_000_000  # of the clock that the program is given
_WORD = struct.Struct("=I")
_ANSWERED = _WORD.pack(1)
_ETHERNET, _BEHIND = 6, bytes(2)  # octets of an address, and what stands behind it in a key
_MAPPED = b"\0" * 10 + b"\xff\xff"

log = logging.getLogger("gslb.balancer")

Address = tuple[str, int]


class Plane(images.Plane, Protocol):
    """Programs and maps: `xdp.loader.DataPlane`."""

    def has(self, name: str) -> bool:
        """Whether a program is in force."""

    def use(self, name: str, first: Callable[[Mapping[str, Map]], None]) -> None:
        """Have a program behind the entry program; `first` looks at its maps before.  Raises Refused, OSError."""

    def run(self, packet: bytes) -> tuple[int, bytes]:
        """What becomes of a packet.  Raises OSError."""


class Answers:
    """DNS of one data plane."""

    def __init__(self, plane: Plane, own: Callable[[], Own] = machine.own) -> None:
        """What an earlier process left in force is adopted.  `own` tells of this machine.  Raises Refused, OSError."""
        self._plane = plane
        self._look_at = own
        self._own = Own()
        self._own_at = float("-inf")
        self._ethernets: frozenset[bytes] = frozenset()  # in force
        self._images: Images | None = None
        self._want: DnsWant | None = None
        self._refused = self._problem = ""
        self._addresses: frozenset[Address] = frozenset()
        self._settings = b""
        self._version = 0  # of the addresses
        self._asked_at = float("-inf")
        self._silent, self._wrong = "", False
        self._octets = 0
        self._sampled: Sampled | None = None  # while somebody listens
        if plane.has(DNS):
            self._octets = self._open().octets()

    @property
    def version(self) -> int:
        """Of the plan that is answered from; 0: none."""
        return self._images.in_force.version if self._images is not None and self._images.in_force is not None else 0

    def want(self, want: DnsWant | None, now: float) -> DnsState | None:
        """Answer this from now on; None: nothing.  How it stands then, as for `tick`."""
        if want is not self._want and self._sampled is not None:
            self._sampled.renew()
        self._want = want
        self._refused, self._problem = "", ""
        try:
            self._look(now)
            self._bring()
        except Refused as error:
            self._refused = str(error)
        except (OSError, ValueError) as error:
            self._problem = f"DNS in the driver stays as it was: {error}"
        self._asked_at = float("-inf")
        return self.tick(now)

    def tick(self, now: float) -> DnsState | None:
        """Once a second: the program is given the time, and asked; how it stands.  None: nothing is wanted."""
        try:
            if self._images is not None:
                if now - self._own_at >= LOOK_S:
                    self._look(now)
                self._set(self._addresses)
        except OSError as error:
            self._problem = f"the clock and the addresses of DNS in the driver cannot be set: {error}"
        if now - self._asked_at >= ASK_S:
            self._asked_at = now
            self._silent, self._wrong = self._asked()
        return self._state() if self._want is not None else None

    def blocks(self) -> tuple[Block, ...]:
        """What was counted, by image.  Raises OSError."""
        return self._images.blocks() if self._images is not None else ()

    def queries(self) -> tuple[bytes, int]:
        """The sample of queries since the last call, and how many are missing in it.  Raises OSError."""
        return self._sampled.take() if self._sampled is not None else (b"", 0)

    def _look(self, now: float) -> None:
        """See which frames are for this machine.  Raises OSError."""
        self._own_at = now
        self._own = self._look_at()

    def _bring(self) -> None:
        """Put in force what is wanted.  Raises Refused, OSError, ValueError."""
        want = self._want
        if want is None:
            self._stop()
        else:
            held = self._open()
            in_force = held.in_force
            if want.tables is not None and (in_force is None or in_force.digest != want.tables.image.digest):
                held.put(want.tables.image, want.tables.geography)
            self._set(frozenset(want.addresses) if held.in_force is not None else frozenset())
            self._octets = held.octets()
            self._listen(want.one_in)

    def _stop(self) -> None:
        if self._images is None:
            return
        self._listen(0)
        self._set(frozenset())
        if self._images.in_force is not None:
            self._images.remove()

    def _listen(self, one_in: int) -> None:
        """Have queries told of, or none.  Raises OSError."""
        if one_in and self._sampled is None:
            self._sampled = Sampled(self._plane.maps)
        elif not one_in and self._sampled is not None:
            self._sampled.close()
            self._sampled = None

    def _open(self) -> Images:
        """The tables, read before the program is replaced: those of another layout are removed, and not misread."""
        if self._images is None:
            self._plane.use(DNS, self._read)
        assert self._images is not None
        return self._images

    def _read(self, maps: Mapping[str, Map]) -> None:
        self._images = Images(self._plane)
        self._addresses = frozenset(map(_address, maps["dns_addresses"].keys()))
        self._ethernets = frozenset(map(_ethernet, maps["dns_ethernets"].keys()))
        self._settings = maps["dns_settings"].lookup(_WORD.pack(0)) or bytes(ctypes.sizeof(DnsSettings))
        self._version = DnsSettings.from_buffer_copy(self._settings).version

    def _set(self, addresses: frozenset[Address]) -> None:
        """Have these addresses answered, and no other, and by the right time."""
        if len(addresses) > MOST_DNS_ADDRESSES:
            raise ValueError(f"{len(addresses)} addresses are to be answered, at most {MOST_DNS_ADDRESSES} can be")
        maps = self._plane.maps
        ethernets = frozenset(sorted(self._own.ethernets)[:MOST_ETHERNETS]) or self._ethernets
        if addresses != self._addresses or ethernets != self._ethernets:
            self._version = self._version % 0xFFFF_FFFF + 1
        for ethernet in self._ethernets - ethernets:
            maps["dns_ethernets"].delete(ethernet + _BEHIND)
        for ethernet in ethernets - self._ethernets:
            maps["dns_ethernets"].update(ethernet + _BEHIND, _ANSWERED)
        self._ethernets = ethernets
        for gone in self._addresses - addresses:
            maps["dns_addresses"].delete(_key(gone))
        for new in addresses - self._addresses:
            maps["dns_addresses"].update(_key(new), _ANSWERED)
        self._addresses = addresses
        ports = {port for _, port in addresses}
        port = ports.pop() if len(ports) == 1 else 0
        one_in, until_ns, per_s = 0, 0, 0
        if self._want is not None and self._sampled is not None:
            one_in, until_ns, per_s = self._want.one_in, self._sampled.until_ns, self._sampled.per_s
        told = DnsSettings(_unix_ns(), len(addresses), self._version, port, 0, one_in, until_ns, per_s)
        for place, broadcast in enumerate(sorted(self._own.broadcasts)[:MOST_BROADCASTS]):
            told.broadcasts[place] = int.from_bytes(broadcast, sys.byteorder)
        settings = bytes(told)
        if settings != self._settings:
            maps["dns_settings"].update(_WORD.pack(0), settings)
            self._settings = settings

    def _asked(self) -> tuple[str, bool]:
        """As `_ask`, after what can be done about it was done."""
        silent, wrong = self._ask()
        if not silent or wrong:
            return silent, wrong
        try:
            self._plane.use(DNS, lambda _: None)
        except (Refused, OSError) as error:
            return f"{silent}, and cannot be put in its place anew: {error}", False
        again = self._ask()
        if not again[0]:
            log.warning("the program that answers DNS was not in its place and is put back", extra={"why": silent})
        return again

    def _ask(self) -> tuple[str, bool]:
        """Why the program does not answer, empty where it does or nothing is to be asked; and whether what it says is wrong."""
        want, addresses = self._want, sorted(self._addresses)
        if want is None or not want.probe or not addresses:
            return "", False
        if not self._ethernets:
            return "no interface of this machine has an Ethernet address", False
        to = max(self._ethernets)  # that of loopback is 0
        query, why, verdict = bytes.fromhex(want.probe), "", XDP_PASS
        for _ in range(TRIES):
            try:
                verdict, out = self._plane.run(asking.frame(query, *addresses[0], to))
            except OSError as error:
                return f"the program cannot be run: {error}", False
            why = asking.wrong(query, verdict, out)
            if not why:
                break
        return why, bool(why) and verdict != XDP_PASS

    def _state(self) -> DnsState:
        now = self._images.in_force if self._images is not None else None
        return DnsState(
            refused=self._refused,
            version=self.version,
            image=now.digest if now is not None else "",
            octets=self._octets,
            addresses=len(self._addresses),
            silent=self._silent,
            problems=(self._problem,) if self._problem else (),
            wrong=self._wrong,
        )


def _unix_ns() -> int:
    """Unix time less the monotonic clock, in steps, so that it is the same from one look to the next."""
    found = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return found // _STEP_NS * _STEP_NS


def _key(address: Address) -> bytes:
    packed = ip_address(address[0]).packed
    return bytes(VipKey(tuple(packed if len(packed) == 16 else _MAPPED + packed), address[1], socket.IPPROTO_UDP))


def _address(key: bytes) -> Address:
    found = VipKey.from_buffer_copy(key)
    packed = bytes(found.address)
    return str(ip_address(packed[12:] if packed.startswith(_MAPPED) else packed)), found.port


def _ethernet(key: bytes) -> bytes:
    return key[:_ETHERNET]
