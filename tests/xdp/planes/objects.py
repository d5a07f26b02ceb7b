"""Small programs in the place of the balancer's, compiled for a test; each build has a number that its counts go by.  IO: runs clang."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
HEADERS = HERE.parent.parent.parent / "xdp/c"


def compiled(clang: str, folder: Path, generation: int = 1, *, headers: Path = HEADERS, lb: str = "lb") -> Path:
    """A folder with entry, lb and probe, made from the balancer's own headers or from changed ones."""
    folder.mkdir(parents=True, exist_ok=True)
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", f"-DGENERATION={generation}"]
    for name, source in (("entry", "entry"), ("lb", lb), ("probe", "probe")):
        where = [f"-I{headers}", "-idirafter", f"/usr/include/{triplet}", "-c", str(HERE / f"{source}.bpf.c")]
        subprocess.run([clang, *flags, *where, "-o", str(folder / f"{name}.bpf.o")], check=True, timeout=60)
    return folder
