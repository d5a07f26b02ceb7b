"""Object files -> programs and maps in the kernel, objects sharing maps by name.  IO: libbpf.

Rule 1: an object is compared with gslb/layout.py and gslb/dnslayout.py before the kernel sees it.
Rule 2: a map whose name is held already is that map; its shape is compared first, or an object would write past it.
Rule 3: a refusal of the verifier is told by the line of its log that tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gslb import dnslayout, layout
from xdp import agreement, btf, said
from xdp.kernelinfo import map_info
from xdp.libbpf import Map, Object, library, require
from xdp.preflight import Refused

DIRECTORY = Path(__file__).resolve().parent / "objects"
_REBUILD = "python3 -m xdp.build --force"


def missing(directory: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """The files that are not in `directory`."""
    return tuple(f"{name}.bpf.o" for name in names if not (directory / f"{name}.bpf.o").exists())


def load(path: Path, held: Mapping[str, Map]) -> Object:
    """Load one object, with those of its maps that are held already.  Raises Refused."""
    _agree(path)
    with said.listening() as lines:
        try:
            opened = Object(path)
        except OSError as error:
            raise Refused(f"{path.name} cannot be read: {error.strerror or error}", _REBUILD) from error
        try:
            _share(opened, held)
            opened.load()
        except Refused:
            opened.close()
            raise
        except OSError as error:
            opened.close()
            raise Refused(_why(path, error, lines)) from error
    return opened


def shared(name: str) -> bool:
    """Whether a map is to be pinned and shared.

    A dot is in the names that libbpf gives to sections of constants; what begins with `own_` is scratch memory of one object.
    """
    return "." not in name and not name.startswith("own_")


def _agree(path: Path) -> None:
    try:
        read = btf.read(path)
        found = [said for module in (layout, dnslayout) for said in agreement.differences(read, module)]
    except (OSError, btf.Malformed) as error:
        raise Refused(f"{path.name} cannot be read: {error}", _REBUILD) from error
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Refused(f"{path.name} is of another version of gslb: {found[0]}{more}", _REBUILD)


def _share(opened: Object, held: Mapping[str, Map]) -> None:
    lib = library()
    for name, handle in opened.maps().items():
        if name not in held or not shared(name):
            continue
        info = map_info(held[name].fd)
        found = (info.type, info.key_size, info.value_size, info.max_entries)
        expected = (
            lib.bpf_map__type(handle),
            lib.bpf_map__key_size(handle),
            lib.bpf_map__value_size(handle),
            lib.bpf_map__max_entries(handle),
        )
        if found != expected:
            raise Refused(
                f"map {name} in the kernel has (type, key, value, entries) {found}, {opened.path.name} expects {expected}",
                _REBUILD,
            )
        require(lib.bpf_map__reuse_fd(handle, held[name].fd), f"share map {name}")


def _why(path: Path, error: OSError, lines: list[str]) -> str:
    words = said.verifier_words(lines) or error.strerror or str(error)
    return f"the kernel refuses {path.name}: {words} (error {error.errno})"
