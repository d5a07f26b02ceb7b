"""Where the data plane lies in bpffs: names, a mount that is not there, rights that are not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gslb.layout import EventCount
from tests.xdp.planes.objects import compiled
from xdp import pins

OPEN = """
import sys
from pathlib import Path
from xdp import pins
from xdp.loader import DataPlane, Refused, remove
home = pins.folder("test", "mount")
try:
    DataPlane.open(home, Path(sys.argv[1])).close()
    print("mounted", pins.mounted(home), sorted(path.name for path in next(home.iterdir()).iterdir()))
    remove(home)
except Refused as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("deployment", "node", "name"),
    [("web", "fra", "web-fra"), ("web.example", "fra.1", "web%2eexample-fra%2e1"), ("50%", "a", "50%25-a")],
)
def test_names_without_dots(deployment: str, node: str, name: str) -> None:
    assert pins.folder(deployment, node) == Path("/sys/fs/bpf/gslb") / name


def test_an_ordinary_folder_is_no_bpffs(tmp_path: Path) -> None:
    assert not pins.mounted(tmp_path / "not" / "there")


def test_nothing_is_held_where_nothing_is(tmp_path: Path) -> None:
    assert pins.held(tmp_path / "nothing") == {}
    assert pins.layouts(tmp_path / "nothing") == ()


@pytest.mark.root
@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ([], "mounted True ['inner', 'links', 'maps', 'programs']"),
        (
            ["setpriv", "--bounding-set", "-sys_admin"],
            "no bpffs is mounted on /sys/fs/bpf; mount -t bpf bpf /sys/fs/bpf",
        ),
    ],
    ids=["mounted", "told"],
)
def test_a_machine_without_bpffs(tool: Callable[[str], str], tmp_path: Path, rights: list[str], said: str) -> None:
    """In a mount namespace of its own, where /sys/fs/bpf is a folder like others."""
    objects = compiled(tool("clang"), tmp_path, EventCount.COUNT_ECHO)
    bare = 'mount -t tmpfs none /sys/fs && mkdir /sys/fs/bpf && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", bare, "sh", *rights, sys.executable, "-c", OPEN, str(objects)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (said, "")


@pytest.mark.root
def test_a_user_who_may_not_write_there(tool: Callable[[str], str], tmp_path: Path) -> None:
    """Capabilities without the rights of a file: this bpffs belongs to root, as systemd mounts it."""
    objects = compiled(tool("clang"), tmp_path, EventCount.COUNT_ECHO)
    kept = "+bpf,+net_admin,+perfmon,+dac_read_search"  # it may read the objects of this test
    user = ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps", kept, "--ambient-caps", kept]
    bare = 'mount -t bpf -o mode=0700 none /sys/fs/bpf && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", bare, "sh", *user, sys.executable, "-c", OPEN, str(objects)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("user 65534 may not write in /sys/fs/bpf (Permission denied); mkdir -p"), done.stderr
