"""What is read of an object's BTF, against objects that clang has just made, and against broken ones."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdp import btf
from xdp.btf import MapDefinition, Member, Struct

SOURCE = """
typedef unsigned char __u8; typedef unsigned short __be16; typedef unsigned int u32; typedef u32 word;
enum below { BELOW = -2, ABOVE = 3 };
struct inner { __be16 port; __u8 octets[6]; };
union either { int number; long more; };
struct outer { const word a; volatile struct inner many[3][2]; void *pointer; enum below below; union either either; };
struct bits { u32 low : 3; u32 high : 29; u32 whole; };
struct outer outer; struct bits bits; const volatile u32 constant = 1;
struct one { int (*type)[2]; int (*max_entries)[1]; u32 *key; struct inner *value; };
struct { int (*type)[12]; int (*max_entries)[7]; u32 *key; struct one *values[]; } rings __attribute__((section(".maps"), used));
struct { int (*type)[1]; int (*max_entries)[9]; int (*map_flags)[1]; int (*key_size)[4]; struct inner *value; } plain
    __attribute__((section(".maps"), used));
"""


@pytest.fixture(scope="module")
def built(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same source for both byte orders, and without BTF."""
    folder = tmp_path_factory.mktemp("btf")
    (folder / "source.c").write_text(SOURCE)
    made = {}
    for name, flags in (("bpfel", ["-g"]), ("bpfeb", ["-g"]), ("none", [])):
        made[name] = folder / f"{name}.o"
        target = "bpf" if name == "none" else name
        argv = [tool("clang"), "-O2", *flags, "-target", target, "-c", str(folder / "source.c"), "-o", str(made[name])]
        subprocess.run(argv, check=True, timeout=60)
    return made


@pytest.mark.parametrize("order", ["bpfel", "bpfeb"])
def test_structs_enums_and_maps(built: dict[str, Path], order: str) -> None:
    found = btf.read(built[order])
    assert found.structs["inner"] == Struct(
        "inner", 8, (Member("port", 0, 2, "__be16"), Member("octets", 2, 6, "__u8[6]"))
    )
    assert found.structs["outer"].members == (
        Member("a", 0, 4, "word"),
        Member("many", 4, 48, "struct inner[2][3]"),
        Member("pointer", 56, 8, "void *"),
        Member("below", 64, 4, "enum below"),
        Member("either", 72, 8, "union either"),
    )
    assert [member.offset for member in found.structs["bits"].members] == [0, 0, 4]
    assert found.enums["below"] == {"BELOW": -2, "ABOVE": 3}
    assert found.maps == {
        "rings": MapDefinition("rings", 12, 4, 4, 7, 0, MapDefinition("", 2, 4, 8, 1)),
        "plain": MapDefinition("plain", 1, 4, 8, 9, 1),
    }


def test_without_debug_information(built: dict[str, Path]) -> None:
    with pytest.raises(btf.Malformed, match=r"none\.o: expected a section \.BTF, found none: it was built without -g"):
        btf.read(built["none"])


def test_no_object_at_all(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(btf.Malformed, match="expected an ELF-64 object"):
        btf.read(tmp_path / "text")


@given(data=st.data())
def test_broken_objects_are_malformed_and_nothing_else(built: dict[str, Path], data: st.DataObject) -> None:
    octets = bytearray(built["bpfel"].read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    broken = built["bpfel"].with_name("broken.o")
    broken.write_bytes(octets[: data.draw(st.integers(0, len(octets)))])
    with contextlib.suppress(btf.Malformed):
        btf.read(broken)
