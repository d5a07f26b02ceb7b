"""XDP links of interfaces: attached natively, else generically and said why; pinned, updated, detached.  IO: system calls, bpffs.

Rule 1: a program is replaced by an update of its link, never by detaching: no packet passes by.
Rule 2: generic is never hidden: why, and the line that mends it, are worked out again for a link that was found.
Rule 3: another's program is left alone, and named; also where it is another balancer of ours.
Source: Linux uapi if_link.h (XDP_FLAGS_*), kernel/bpf (bpf_xdp_link).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from ctypes import c_size_t, c_uint32, c_uint64
from pathlib import Path

from gslb.model.deployment import Attach
from xdp import machine, owners, pins, preflight, said
from xdp.kernelinfo import link_info, program_name, xdp_link_of, xdp_on
from xdp.libbpf import library, require
from xdp.messages import Attached, Interface

_BPF_XDP = 37  # enum bpf_attach_type
_GENERIC, _NATIVE = 1 << 1, 1 << 2  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
_TAKEN = (errno.EBUSY, errno.EEXIST)


class _LinkCreateOpts(ctypes.Structure):
    """struct bpf_link_create_opts; what stands at `flags` is for XDP."""

    _fields_ = [("sz", c_size_t), ("flags", c_uint32), ("iter_info_len", c_uint32), ("rest", c_uint64 * 4)]


def attach(links: Path, program: int, name: str, how: Attach, asked: str = "balancer.attach") -> Interface:
    """Have `program` run on an interface, by a link pinned in `links`; `asked`: which key of the configuration says `how`.

    Raises OSError for what is no fault of the interface.
    """
    if how is Attach.OFF:
        detach(links, name)
        section, _, key = asked.partition(".")
        return Interface(name, Attached.NOT, f"{asked} is off", f"{section}: {{{key}: auto}}")
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        known = [known for _, known in socket.if_nameindex() if known != "lo"]
        return Interface(name, Attached.NOT, *preflight.no_interface(name, known))
    pin = links / f"if{index}"
    if pin.exists():
        found = _described(name, index, how, asked)
        if how in (Attach.AUTO, Attach(found.attached) if found.attached is not Attached.NOT else None):
            update(pin, program)
            return found
        detach(links, name)
    return _attach(pin, program, name, how, asked)


def _attach(pin: Path, program: int, name: str, how: Attach, asked: str) -> Interface:
    refused, index = ("", ""), socket.if_nametoindex(name)
    if how is not Attach.GENERIC:
        try:
            _create(pin, program, index, _NATIVE)
            return Interface(name, Attached.NATIVE)
        except OSError as error:
            if error.errno in _TAKEN and (foreign := _foreign(name, index)):
                return foreign
            refused = _explained(name, index, program, error)
        if how is Attach.NATIVE:
            return Interface(name, Attached.NOT, *refused)
    try:
        _create(pin, program, index, _GENERIC)
    except OSError as error:
        foreign = _foreign(name, index) if error.errno in _TAKEN else None
        return foreign or Interface(name, Attached.NOT, f"the kernel refuses it: {error.strerror}")
    return _generic(name, *(refused if refused[0] else (f"{asked} is generic", "")))


def _create(pin: Path, program: int, index: int, flags: int) -> None:
    opts = _LinkCreateOpts(sz=ctypes.sizeof(_LinkCreateOpts), flags=flags)
    fd = require(library().bpf_link_create(program, index, _BPF_XDP, ctypes.byref(opts)), "attach")
    try:
        pins.put(fd, pin)
    finally:
        os.close(fd)


def update(pin: Path, program: int) -> None:
    """Have a pinned link run `program` from the next packet on.  Raises OSError."""
    fd = pins.opened(pin)
    try:
        require(library().bpf_link_update(fd, program, None), f"update the link {pin.name}")
    finally:
        os.close(fd)


def detach(links: Path, name: str) -> None:
    """End the link of an interface, if there is one."""
    for pin, index in list(_pinned(links)):
        if _name(index) == name:
            end(pin)


def end(pin: Path) -> None:
    """Detach a pinned link and remove its pin."""
    fd = pins.opened(pin)
    try:
        library().bpf_link_detach(fd)  # fails where the interface is gone, and with it the program
    finally:
        os.close(fd)
    pin.unlink()


def sweep(links: Path) -> None:
    """Remove the pins of links whose interface is gone."""
    for pin, index in list(_pinned(links)):
        if not index:
            pin.unlink()


def attached(links: Path, how: Attach = Attach.AUTO, asked: str = "balancer.attach") -> tuple[Interface, ...]:
    """The interfaces on which a program runs by a link pinned in `links`, also with every process dead.

    `how` they were to be attached, and by which key of the configuration: what was asked for needs no other reason.
    """
    return tuple(_described(_name(index), index, how, asked) for _, index in _pinned(links) if index and _name(index))


def every(links: Path) -> list[Path]:
    """The pins of links."""
    return sorted(links.iterdir()) if links.exists() else []


def _pinned(links: Path) -> Iterator[tuple[Path, int]]:
    for pin in every(links):
        fd = pins.opened(pin)
        try:
            yield pin, link_info(fd).ifindex
        finally:
            os.close(fd)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def _described(name: str, index: int, how: Attach, asked: str) -> Interface:
    on = xdp_on(index)
    if on.native:
        return Interface(name, Attached.NATIVE)
    if not on.generic:
        return Interface(name, Attached.NOT, "its program is gone", f"ip link show {name}")
    if how is Attach.GENERIC:
        return _generic(name, f"{asked} is generic", "")
    return _generic(name, *preflight.native_refused(machine.nic(name), ""))


def _generic(name: str, why: str, mend: str) -> Interface:
    costs, line = preflight.generic_costs(machine.nic(name))
    reasons, lines = (why, costs), (mend, line)
    return Interface(name, Attached.GENERIC, "; ".join(filter(None, reasons)), "; ".join(filter(None, lines)))


def _foreign(name: str, index: int) -> Interface | None:
    """Which program of another is there, and how it is removed."""
    on = xdp_on(index)
    identity = on.native or on.generic
    if not identity:
        return None
    home = owners.home_of(index, identity)
    if home is not None:
        return Interface(name, Attached.NOT, *owners.told(home, name), taken=True)
    link = xdp_link_of(index, identity)
    mend = (
        f"bpftool link detach id {link}"
        if link
        else f"ip link set dev {name} {'xdp' if on.native else 'xdpgeneric'} off"
    )
    called = program_name(identity) or "without a name"
    why = f"another XDP program runs on {name} ({called}, id {identity}) and is left alone"
    return Interface(name, Attached.NOT, why, mend, taken=True)


def _explained(name: str, index: int, program: int, error: OSError) -> tuple[str, str]:
    """Why native mode is refused: attaching by netlink says it in words, which a link does not."""
    with said.listening() as lines:
        if library().bpf_xdp_attach(index, program, _NATIVE, None) == 0:
            library().bpf_xdp_detach(index, _NATIVE, None)
    words = said.kernel_words(lines) or f"native mode is refused ({os.strerror(error.errno or 0)})"
    return preflight.native_refused(machine.nic(name), words)
