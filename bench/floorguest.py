#!/usr/bin/python3
"""What `bench.floor` runs as the first process of the guest: the loader with all programs, then the machine's end.  IO."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import traceback
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdp.loader import DataPlane
    from xdp.messages import DnsFile

sys.path.insert(0, "/gslb")
_POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF
_FINIT_MODULE = 313  # of x86-64
_DNS = Path("/dns")  # tables, queries, replies
_ADDRESSES = (("198.51.100.53", 53), ("2001:db8:a::53", 53))
_libc = ctypes.CDLL(None, use_errno=True)


def prepare() -> None:
    """Mount what the loader reads; modules, and a pair of veth."""
    for kind, where in ((b"proc", b"/proc"), (b"sysfs", b"/sys"), (b"devtmpfs", b"/dev")):
        _libc.mount(kind, where, kind, 0, None)
    for module in sorted(Path("/modules").iterdir()):
        with module.open("rb") as opened:
            if _libc.syscall(_FINIT_MODULE, opened.fileno(), b"", 0):
                raise OSError(ctypes.get_errno(), f"{module.name} is not taken")
    for words in ("link add v0 type veth peer name v1", "link set v0 up", "link set v1 up", "link set lo up"):
        subprocess.run(["/usr/sbin/ip", *words.split()], check=True)


def load_all() -> None:
    """Each program by the way that it is loaded in earnest."""
    from gslb.model.deployment import Attach  # noqa: PLC0415  # /proc and /sys are there only now
    from xdp import decap, pins  # noqa: PLC0415
    from xdp.loader import DataPlane, remove  # noqa: PLC0415
    from xdp.messages import Attached  # noqa: PLC0415

    home = pins.folder("floor", "here")
    plane = DataPlane.open(home, programs=("lb", "dns"))
    say(f"entry, lb and dns are loaded, with {len(plane.maps)} maps")
    for name, wanted in (("v0", Attached.NATIVE), ("lo", Attached.GENERIC)):
        found = plane.attach(name, Attach.AUTO)
        assert found.attached is wanted, found
    plane.attach_probe("v0")
    say("attached natively and generically, and the probe on the way out")
    ring = plane.new_inner("rings")
    plane.maps["rings"].update((3).to_bytes(4, sys.byteorder), ring.fd.to_bytes(4, sys.byteorder))
    plane.close()
    plane = DataPlane.open(home, programs=("lb", "dns"))
    inner = plane.inner("rings", 3)
    assert plane.adopted
    assert inner is not None
    assert len(plane.attached()) == 2, plane.attached()
    say("adopted, with its rings and links")
    ask(plane)
    plane.close()
    remove(home)
    assert not home.exists()
    found = decap.install("v0", (), ())
    assert found.attached is Attached.NATIVE, found
    assert decap.remove()
    say("decap is loaded and attached")


def ask(plane: DataPlane) -> None:
    """DNS is put in force, and answers each query as the reference does."""
    from gslb.model.deployment import Attach  # noqa: PLC0415
    from xdp import asking, libbpf  # noqa: PLC0415
    from xdp.answers import Answers  # noqa: PLC0415
    from xdp.machine import Own  # noqa: PLC0415
    from xdp.messages import DnsTables, DnsWant  # noqa: PLC0415

    tables = DnsTables(_file("image"), _file("geography"))
    own = Own(frozenset({asking.TO}))
    state = Answers(plane, lambda: own).want(DnsWant(tables, _ADDRESSES, (), Attach.OFF), 0.0)
    assert state is not None
    assert (state.refused, state.problems) == ("", ()), state
    asked = json.loads((_DNS / "asked").read_bytes())
    for query, reply in asked:
        for address, port in _ADDRESSES:
            verdict, out = plane.run(asking.frame(bytes.fromhex(query), address, port))
            assert verdict == libbpf.XDP_TX, (query, verdict)
            assert out.endswith(bytes.fromhex(reply)), (reply, out.hex())
    say(f"DNS answers {len(asked)} queries over IPv4 and IPv6")


def _file(name: str) -> DnsFile:
    from xdp.messages import DnsFile  # noqa: PLC0415

    content = (_DNS / name).read_bytes()
    return DnsFile(str(_DNS / name), len(content), blake2b(content, digest_size=16).hexdigest())


def say(what: str) -> None:
    """One line for the host."""
    print(f"floor: {what}", flush=True)


if __name__ == "__main__":
    try:
        prepare()
        say(f"Linux {os.uname().release}")
        load_all()
        say("all is well")
    except Exception as error:  # noqa: BLE001  # whatever it is, the host is told
        say(f"{type(error).__name__}: {error}")
        traceback.print_exc(file=sys.stdout)
    sys.stdout.flush()
    _libc.reboot(_POWER_OFF)
