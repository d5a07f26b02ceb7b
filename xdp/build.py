"""Compile the XDP programs: `python -m xdp.build [--force]`.  IO: runs clang and, for libgslb.so, the C compiler.

Rule 1: every `*.bpf.c` becomes one object, NATIVE become libgslb.so, all in OBJECTS.
Rule 2: what is up to date stays: a digest of sources, flags and compiler beside each object says so.
Rule 3: an object appears whole or not at all, and a warning is an error.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from gslb.dnslayout import LAYOUT_HASH

SOURCES = Path(__file__).resolve().parent / "c"
OBJECTS = Path(__file__).resolve().parent / "objects"
LIBRARY = "libgslb.so"
NATIVE = ("dns_native.c", "maglev.c")
PACKAGES = "clang libbpf-dev linux-libc-dev"
HEADERS = ("bpf/bpf_helpers.h", "linux/bpf.h", "asm/types.h")
DEFINED = f"-DDNS_LAYOUT=0x{LAYOUT_HASH}"  # what images the programs and the library can read
_WARNINGS = ("-Wall", "-Wextra", "-Werror")


class NotBuilt(Exception):
    """It could not be compiled; the text is for people and says what is missing."""


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to compile: sources, the command without its output, and the file that it makes."""

    sources: tuple[Path, ...]
    command: tuple[str, ...]
    output: Path

    @property
    def digest(self) -> str:
        """Of all that the result depends on."""
        hashed = hashlib.blake2b(digest_size=16)
        hashed.update("\0".join(self.command).encode())
        for path in self.sources:
            hashed.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
        return hashed.hexdigest()


def build(*, force: bool = False, objects: Path = OBJECTS, sources: Path = SOURCES) -> list[Path]:
    """Compile what is out of date (`force`: everything) and return what was made.

    One that fails does not keep the others from being made.  Raises NotBuilt.
    """
    objects.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    failures: list[str] = []
    for job in jobs(sources, objects):
        try:
            if _make(job, force=force):
                made.append(job.output)
        except NotBuilt as error:
            failures.append(str(error))
    if failures:
        raise NotBuilt("\n".join(dict.fromkeys(failures)))
    return made


def jobs(sources: Path, objects: Path) -> list[Job]:
    """What there is to compile.  Raises NotBuilt where no clang is installed."""
    clang = compiler()
    headers = tuple(sorted(sources.glob("*.h")))
    flags = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", *_WARNINGS, DEFINED, *_include_path())
    found = [
        Job((path, *headers), (clang, *flags, "-c", str(path)), objects / f"{path.name.removesuffix('.c')}.o")
        for path in sorted(sources.glob("*.bpf.c"))
    ]
    native = tuple(path for name in NATIVE if (path := sources / name).exists())
    if native:
        command = (shutil.which("cc") or clang, "-O3", "-shared", "-fPIC", *_WARNINGS, DEFINED, *map(str, native))
        found.append(Job((*native, *headers), command, objects / LIBRARY))
    return found


def compiler() -> str:
    """The path of clang.  Raises NotBuilt."""
    named = os.environ.get("CLANG", "clang")
    path = shutil.which(named)
    if path is None:
        raise NotBuilt(f"{named} is not installed, and the XDP programs need it - apt-get install {PACKAGES}")
    return path


def _include_path() -> tuple[str, ...]:
    """Where asm/types.h is on Debian, which keeps it by architecture; clang does not look there for the target bpf."""
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
    folder = Path("/usr/include") / triplet
    return ("-idirafter", str(folder)) if folder.is_dir() else ()


def _make(job: Job, *, force: bool) -> bool:
    """Compile one job unless its result is there; whether it was compiled."""
    stamp = job.output.with_name(f".{job.output.name}.digest")
    digest = job.digest
    if not force and job.output.exists() and stamp.exists() and stamp.read_text() == digest:
        return False
    partial = job.output.with_name(f".{job.output.name}.{os.getpid()}")
    try:
        _run([*job.command, "-o", str(partial)])
        partial.rename(job.output)
        stamp_partial = partial.with_suffix(".stamp")
        stamp_partial.write_text(digest)
        stamp_partial.rename(stamp)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    raise NotBuilt(explained(command, done.stderr))


def explained(command: list[str], said: str) -> str:
    """What the compiler said, for people."""
    for header in HEADERS:
        if f"'{header}' file not found" in said:
            return f"{header} is missing, which the XDP programs include - apt-get install {PACKAGES}"
    return f"{' '.join(command)}\n{said.rstrip()}"


def main() -> int:
    """Compile, and say what was made; 1 with a sentence where it cannot be."""
    try:
        for path in build(force="--force" in sys.argv[1:]):
            sys.stdout.write(f"{path}\n")
    except NotBuilt as error:
        sys.stderr.write(f"gslb: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
