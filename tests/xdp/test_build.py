"""Compiling the programs: only what changed, all or nothing, and a sentence for people where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xdp import build

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "verdict.h"
SEC("xdp") int small(struct xdp_md *ctx) { (void)ctx; return VERDICT; }
char _license[] SEC("license") = "Dual BSD/GPL";
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources of one small program with a header, and room for objects."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c/small.bpf.c").write_text(SOURCE)
    (tmp_path / "c/verdict.h").write_text("#define VERDICT XDP_PASS\n")
    return tmp_path


def made(folder: Path, *, force: bool = False) -> list[str]:
    found = build.build(force=force, objects=folder / "objects", sources=folder / "c")
    return [path.name for path in found]


@pytest.fixture(autouse=True)
def _clang(tool: Callable[[str], str]) -> None:
    tool("clang")


def test_what_is_up_to_date_stays(folder: Path) -> None:
    assert made(folder) == ["small.bpf.o"]
    assert made(folder) == []
    assert made(folder, force=True) == ["small.bpf.o"]


def test_a_changed_header_is_a_change(folder: Path) -> None:
    made(folder)
    (folder / "c/verdict.h").write_text("#define VERDICT XDP_DROP\n")
    assert made(folder) == ["small.bpf.o"]


def test_a_removed_object_is_made_again(folder: Path) -> None:
    made(folder)
    (folder / "objects/small.bpf.o").unlink()
    assert made(folder) == ["small.bpf.o"]


def test_other_flags_are_a_change(folder: Path) -> None:
    (job,) = build.jobs(folder / "c", folder / "objects")
    other = build.Job(job.sources, (*job.command, "-DMORE"), job.output)
    assert job.digest != other.digest


def test_a_warning_is_an_error_and_the_rest_is_made(folder: Path) -> None:
    (folder / "c/bad.bpf.c").write_text(SOURCE.replace("(void)ctx;", "int unused;"))
    with pytest.raises(build.NotBuilt, match="unused"):
        made(folder)
    assert sorted(path.name for path in (folder / "objects").iterdir()) == [".small.bpf.o.digest", "small.bpf.o"]


def test_a_failure_leaves_the_object_that_was_there(folder: Path) -> None:
    made(folder)
    before = (folder / "objects/small.bpf.o").read_bytes()
    (folder / "c/verdict.h").write_text("#define VERDICT no_such_thing\n")
    with pytest.raises(build.NotBuilt, match="no_such_thing"):
        made(folder)
    assert (folder / "objects/small.bpf.o").read_bytes() == before
    assert made_again_after_mending(folder) == ["small.bpf.o"]


def made_again_after_mending(folder: Path) -> list[str]:
    (folder / "c/verdict.h").write_text("#define VERDICT XDP_TX\n")
    return made(folder)


def test_no_clang(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANG", "clang-that-is-nowhere")
    with pytest.raises(
        build.NotBuilt, match=r"clang-that-is-nowhere is not installed.*apt-get install clang libbpf-dev"
    ):
        made(folder)


def test_no_headers_of_libbpf(folder: Path) -> None:
    (folder / "c/small.bpf.c").write_text("#include <bpf/no_such_header.h>\n" + SOURCE)
    with pytest.raises(build.NotBuilt, match=r"no_such_header"):
        made(folder)


@pytest.mark.parametrize("header", build.HEADERS)
def test_a_missing_header_names_the_packages(header: str) -> None:
    said = f"x.c:1:10: fatal error: '{header}' file not found"
    assert build.explained(["clang"], said) == (
        f"{header} is missing, which the XDP programs include - apt-get install {build.PACKAGES}"
    )


def test_the_native_helper_is_made_where_it_has_a_source(folder: Path) -> None:
    (folder / "c/maglev.c").write_text("int one(void);\nint one(void) { return 1; }\n")
    assert made(folder) == ["small.bpf.o", build.LIBRARY]


def test_our_own_programs_compile() -> None:
    build.build()
    assert {"entry.bpf.o", "lb.bpf.o", build.LIBRARY} <= {path.name for path in build.OBJECTS.iterdir()}
