"""Addresses that this node lends to `lo`: those of prefixes that it announces.  IO: netlink, one file in the state folder.

Rule 1: what was there before us is never removed; what somebody removed is no longer ours.
Rule 2: what we add is on disk before it is on `lo`, so that a run after a kill knows what it may remove.
Rule 3: after a boot, or in another network namespace, nothing of what the file says is ours.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from gslb.control import addresses
from gslb.model.deployment import Address
from xdp.netlink import Netlink

NAME = "loopback.json"
INTERFACE = "lo"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NETWORK = Path("/proc/thread-self/ns/net")
_MAX = 1 << 20  # octets

log = logging.getLogger("gslb.supervisor")


class Loopback:
    """What is ours of the addresses of `lo`; `folder` is the node's state folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._ours = self._recall()

    @property
    def ours(self) -> frozenset[Address]:
        """What this run or an earlier one added, and nobody has removed as far as is known."""
        return self._ours

    def want(self, asked: Iterable[Address]) -> tuple[str, ...]:
        """Have exactly these of ours on `lo`, beside what others put there; what cannot be, and what to do, for people."""
        asked = frozenset(asked)
        here = self._here()
        kept = self._ours & here & asked
        missing = asked - here
        surplus = (self._ours & here) - asked
        if not missing and kept == self._ours:
            return ()
        self._remember(kept | surplus | missing)
        problems = []
        with Netlink() as netlink:
            index = socket.if_nametoindex(INTERFACE)
            for address in sorted(missing, key=_order):
                try:
                    netlink.add_address(index, address)
                except OSError as error:
                    if error.errno != errno.EEXIST:
                        problems.append(_refused(address, error))
                else:
                    kept |= {address}
                    log.info("address added", extra={"address": str(address), "interface": INTERFACE})
            for address in sorted(surplus, key=_order):
                try:
                    netlink.remove_address(index, address)
                except OSError as error:
                    if error.errno != errno.EADDRNOTAVAIL:
                        problems.append(_stays(address, error))
                        kept |= {address}
                        continue
                log.info("address removed", extra={"address": str(address), "interface": INTERFACE})
        self._remember(kept)
        return tuple(problems)

    def _here(self) -> frozenset[Address]:
        return frozenset(ip_address(one.address) for one in addresses.present())

    def _recall(self) -> frozenset[Address]:
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_MAX))
            if (found["boot"], found["network"]) != _place():
                return frozenset()
            return frozenset(map(ip_address, found["addresses"])) & self._here()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return frozenset()

    def _remember(self, ours: frozenset[Address]) -> None:
        self._ours = ours
        try:
            if not ours:
                self._path.unlink(missing_ok=True)
                return
            boot, network = _place()
            texts = [str(one) for one in sorted(ours, key=_order)]
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps({"boot": boot, "network": network, "addresses": texts}))
            beside.replace(self._path)
        except OSError as error:
            why = {"why": error.strerror}
            log.warning("what this run added to %s is not on disk: a kill would leave it there", INTERFACE, extra=why)


def _place() -> tuple[str, int]:
    """What tells this boot and this network namespace from others.  Raises OSError."""
    return _BOOT.read_text().strip(), _NETWORK.stat().st_ino


def _refused(address: Address, error: OSError) -> str:
    network = f"{address}/{address.max_prefixlen}"
    if error.errno != errno.EPERM:
        return f"{address} cannot be put on {INTERFACE}: {error.strerror}"
    return (
        f"{address} is not on this node, and this run has no CAP_NET_ADMIN to put it on {INTERFACE}: restart gslb if its prefix "
        f"is new in the configuration, else give its unit packaging/gslb-bgp.conf, or put it there: "
        f"ip address add {network} dev {INTERFACE}"
    )


def _stays(address: Address, error: OSError) -> str:
    network = f"{address}/{address.max_prefixlen}"
    return (
        f"{address} is wanted on {INTERFACE} no more and cannot be removed ({error.strerror}); remove it: "
        f"ip address del {network} dev {INTERFACE}"
    )


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)
