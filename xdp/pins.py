"""Where the data plane lies in bpffs: PINS/LAYOUT_HASH/{maps,inner,programs,links}.  IO: bpffs.

Rule 1: a folder named by a hash is whole: it is made under another name and renamed when nothing is missing.
Rule 2: bpffs refuses a dot in a name; names are escaped here and nowhere else.
Rule 3: maps are read here without libbpf's objects, so that commands see what is in force while they can make nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from xdp.kernelinfo import described
from xdp.libbpf import Map, library, require
from xdp.preflight import BPFFS, Refused

ROOT = Path(BPFFS) / "gslb"
BUILDING = "building"
MAPS, INNER, PROGRAMS, LINKS = "maps", "inner", "programs", "links"
_MAGIC = 0xCAFE4A11  # of bpffs, Linux uapi magic.h


def folder(deployment: str, node: str) -> Path:
    """PINS of one node: what DataPlane.open is given."""
    return ROOT / "-".join(name.replace("%", "%25").replace(".", "%2e") for name in (deployment, node))


def mounted(path: Path) -> bool:
    """Whether `path`, or the nearest folder above it that exists and may be looked at, lies in a bpffs."""
    while not _exists(path):
        path = path.parent
    return _kind(path) == _MAGIC


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def mount() -> None:
    """Mount a bpffs where it belongs.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", BPFFS.encode(), b"bpf", 0, b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount bpffs on {BPFFS}: {os.strerror(number)}")


def _kind(path: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(256)  # struct statfs begins with f_type, a long
    require(libc.statfs(os.fsencode(path), answer), f"statfs {path}")
    return ctypes.c_long.from_buffer(answer).value


def opened(path: Path) -> int:
    """The descriptor of a pinned map, program or link.  Raises OSError."""
    return require(library().bpf_obj_get(os.fsencode(path)), f"open {path}")


def put(fd: int, path: Path) -> None:
    """Pin, in the place of what is pinned there.  Raises OSError."""
    if not path.exists():
        require(library().bpf_obj_pin(fd, os.fsencode(path)), f"pin {path}")
        return
    aside = path.with_name(f"{path.name}_{BUILDING}")
    aside.unlink(missing_ok=True)
    require(library().bpf_obj_pin(fd, os.fsencode(aside)), f"pin {aside}")
    aside.rename(path)


def make(path: Path) -> None:
    """Make the folders of a layout.  Raises Refused where bpffs is not ours to write."""
    try:
        for name in (MAPS, INNER, PROGRAMS, LINKS):
            (path / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise not_ours(error) from error


def not_ours(error: OSError) -> Refused:
    """What keeps us from writing in bpffs, and the line that mends it."""
    user = os.geteuid()
    mend = f"mkdir -p {ROOT} && chown {user} {ROOT} && chmod 711 {BPFFS}"
    return Refused(f"user {user} may not write in {BPFFS} ({error.strerror})", mend)


def held(path: Path) -> Mapping[str, Map]:
    """The pinned maps of a whole folder by name; the caller closes their descriptors.  Raises OSError."""
    return {pin.name: described(opened(pin)) for pin in sorted((path / MAPS).iterdir())} if path.exists() else {}


def inner(path: Path, outer: str, identity: int) -> Path:
    """Where a map lies that a map of maps holds: the kernel tells its id to anybody, and the map only to CAP_SYS_ADMIN."""
    return path / INNER / f"{outer}_{identity}"


def sweep_inner(path: Path, outer: str, held: Collection[int]) -> None:
    """Remove the pins of maps that the map of maps does not hold: what a process left that ended between two steps."""
    kept = {f"{outer}_{identity}" for identity in held}
    for pin in (path / INNER).glob(f"{outer}_*"):
        if pin.name.removeprefix(f"{outer}_").isdigit() and pin.name not in kept:
            pin.unlink()


def layouts(pins: Path) -> tuple[Path, ...]:
    """The whole folders of a node, one a layout."""
    return tuple(sorted(path for path in pins.iterdir() if path.name != BUILDING)) if pins.exists() else ()


def clear(path: Path) -> None:
    """Remove a folder with all that is pinned in it."""
    if not path.exists():
        return
    for below in path.iterdir():
        if below.is_dir():
            clear(below)
        else:
            below.unlink(missing_ok=True)
    path.rmdir()
