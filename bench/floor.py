"""The oldest kernel that is promised, Debian 12's Linux 6.1, in qemu: every program is loaded, attached, adopted, removed.

DNS in the driver is asked as well: what it answers there must be what the reference answers here.

    python -m bench.floor [KERNEL.deb]

Needs qemu-system-x86 and Debian's own python3; without a package of a kernel the newest one is downloaded from Debian.  No KVM
is needed, and nothing of this machine is changed.  Standard: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.dnsscene import APEX, label, scene
from bench.queries import AAAA, TXT, A, message
from xdp import build

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "linux-image-cloud-amd64"
LIBRARY = Path("/usr/lib/python3.11")
PROGRAMS = (Path("/usr/bin/python3"), Path("/usr/sbin/ip"))
MODULES = ("veth", "sch_ingress", "cls_bpf")
GUEST = Path(__file__).with_name("floorguest.py")
QEMU = ("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1500", "-nographic", "-no-reboot")
ASKED = (("w", A), ("w", AAAA), ("a", A), ("m", A), ("t", TXT), ("x", A))  # the first letter of a name, and the type
MOST_S = 180.0


def main(arguments: list[str]) -> int:
    """Print what the kernel said; 0 where all was taken."""
    build.build()
    with tempfile.TemporaryDirectory(prefix="gslb-floor-") as name:
        folder = Path(name)
        package = Path(arguments[0]) if arguments else _downloaded(folder)
        kernel = folder / "kernel"
        subprocess.run(["dpkg-deb", "-x", str(package), str(kernel)], check=True)
        archive = folder / "initramfs"
        archive.write_bytes(b"".join(_cpio((*_files(kernel), *_tables(folder)))))
        (image,) = (kernel / "boot").glob("vmlinuz-*")
        booted = [*QEMU, "-kernel", str(image), "-initrd", str(archive), "-nic", "none"]
        done = subprocess.run(
            [*booted, "-append", "console=ttyS0 quiet panic=-1 rdinit=/init"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", timeout=MOST_S, check=False,
        )  # fmt: skip
    lines = re.findall(r"floor: .*(?<!\r)", done.stdout)
    print("\n".join(lines) or done.stdout)
    return 0 if lines and lines[-1] == "floor: all is well" else 1


def _downloaded(folder: Path) -> Path:
    said = subprocess.run(["apt-cache", "depends", PACKAGE], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-6\.1\S+)", said)
    if found is None:
        sys.exit(f"{PACKAGE} is not of Linux 6.1 here: give the package of a kernel of Debian 12 as argument")
    subprocess.run(["apt-get", "download", "-q", found[1]], check=True, cwd=folder)
    return next(folder.glob("*.deb"))


def _files(kernel: Path) -> Iterator[tuple[str, Path]]:
    """What the guest has: where it lies there, and here."""
    yield "init", GUEST
    for package in ("gslb", "xdp"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".o", ".so"):
                yield f"gslb/{path.relative_to(ROOT)}", path
    for module in MODULES:
        yield f"modules/{module}.ko", next(kernel.rglob(f"{module}.ko"))
    own = [path for path in LIBRARY.rglob("*") if path.suffix in (".py", ".so") and "test" not in path.parts]
    for path in (*own, *PROGRAMS, *_shared([*PROGRAMS, *LIBRARY.rglob("*.so")])):
        yield str(path).removeprefix("/"), path


def _tables(folder: Path) -> Iterator[tuple[str, Path]]:
    """What DNS is answered from there, and queries with the replies of the reference."""
    made = scene((), folder)
    queries = [message(label(kind, 1) + APEX, rtype) for kind, rtype in ASKED]
    replies = [made.responder.general(query, "192.0.2.53") for query in queries]
    asked = [(query.hex(), reply.hex()) for query, reply in zip(queries, replies, strict=True) if reply is not None]
    for name, content in (
        ("image", made.image),
        ("geography", made.geography),
        ("asked", json.dumps(asked).encode()),
    ):
        path = folder / name
        path.write_bytes(content)
        yield f"dns/{name}", path


def _shared(binaries: Iterable[Path]) -> set[Path]:
    """The shared libraries of these, and libbpf, which Python opens by its name."""
    library = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    bpf = re.search(r"libbpf\.so\.1 .* => (\S+)", library)
    if bpf is None:
        sys.exit("libbpf.so.1 is not installed: apt-get install libbpf1")
    said = subprocess.run(["ldd", *map(str, binaries), bpf[1]], check=True, capture_output=True, text=True).stdout
    return {Path(bpf[1]), *(Path(path) for path in re.findall(r"(/\S+) \(0x", said))}


def _cpio(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """An archive of the format newc, with the folders that the files need."""
    made: set[str] = set()
    for name, path in files:
        for folder in reversed(Path(name).parents[:-1]):
            if str(folder) not in made:
                made.add(str(folder))
                yield _entry(str(folder), stat.S_IFDIR | 0o755, b"")
        if name not in made:
            made.add(name)
            yield _entry(name, stat.S_IFREG | 0o755, path.read_bytes())
    for empty in ("proc", "sys", "dev"):
        yield _entry(empty, stat.S_IFDIR | 0o755, b"")
    yield _entry("TRAILER!!!", 0, b"")


def _entry(name: str, mode: int, content: bytes) -> bytes:
    path = os.fsencode(name) + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + path
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
