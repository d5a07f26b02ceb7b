"""What every command does with an output that cannot be written, and with a file that it may not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GSLB = (sys.executable, "-m", "gslb.cli")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [*GSLB, "check", "gslb.yaml"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait() == 0


def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*GSLB, "check", "gslb.yaml"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"gslb: the output could not be written: No space left on device\n"


def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    words = ["explain", "www.example.com", "--node", "fra", "--state", str(tmp_path / "state")]
    done = subprocess.run([*GSLB, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert str(tmp_path / "state") in done.stderr
