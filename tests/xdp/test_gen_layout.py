"""gslb/layout.py and gslb/dnslayout.py are what xdp/c says, and every kind of change would be noticed."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gslb import dnslayout, layout
from xdp import btf, gen_layout
from xdp.btf import Btf, MapDefinition, Member, Struct

SMALL = Btf(
    {"vip_key": Struct("vip_key", 4, (Member("port", 0, 2, "__be16"), Member("tail", 2, 2, "__u8[2]")))},
    {"sizes": {"MOST_VIPS": 7}, "mode": {"MODE_L2": 1}},
    {"vips": MapDefinition("vips", 1, 4, 4, 7)},
)
HEADER = "enum sizes {\n};\nenum mode {\n};\nstruct vip_key {\n};\n"


@pytest.mark.parametrize("subject", gen_layout.LAYOUTS, ids=lambda found: found.module)
def test_the_committed_file_is_up_to_date(subject: gen_layout.Layout, objects: Path) -> None:
    found = btf.read(objects / f"{subject.name}.bpf.o")
    assert gen_layout.generated(found, subject.header.read_text(), subject) == subject.generated.read_text()


@pytest.mark.usefixtures("objects")
def test_the_command_says_that_all_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xdp.gen_layout", "--check"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_generated() -> None:
    said = gen_layout.generated(SMALL, HEADER)
    module: dict[str, object] = {}
    exec(compile(said, "layout", "exec", dont_inherit=True), module)
    key = module["VipKey"]
    assert isinstance(key, type)
    assert bytes(key(443, (1, 2))) == b"\x01\xbb\x01\x02"
    assert module["MOST_VIPS"] == 7
    assert "class Mode(IntEnum):\n    MODE_L2 = 1\n" in said
    assert '    "vips": MapShape(1, 4, 4, 7, 0),\n' in said


@pytest.mark.parametrize(
    "other",
    [
        replace(SMALL, structs={"vip_key": replace(SMALL.structs["vip_key"], size=8)}),
        replace(SMALL, enums={**SMALL.enums, "mode": {"MODE_L2": 2}}),
        replace(SMALL, maps={"vips": replace(SMALL.maps["vips"], max_entries=8)}),
        replace(SMALL, maps={}),
    ],
    ids=["struct", "enum", "map", "no map"],
)
def test_every_change_has_another_hash(other: Btf) -> None:
    hashes = {gen_layout.layout_hash(found, ["vip_key"], ["sizes", "mode"]) for found in (SMALL, other)}
    assert len(hashes) == 2


def test_the_hash_is_of_what_is_said_and_not_of_its_order() -> None:
    turned = replace(SMALL, enums={name: SMALL.enums[name] for name in ("mode", "sizes")})
    assert gen_layout.layout_hash(SMALL, ["vip_key"], ["sizes", "mode"]) == gen_layout.layout_hash(
        turned, ["vip_key"], ["mode", "sizes"]
    )


def test_a_forgotten_struct_is_named() -> None:
    with pytest.raises(
        gen_layout.Forgotten, match=r"vip of layout\.h is not in the object: name it in xdp/c/layout\.bpf\.c"
    ):
        gen_layout.generated(SMALL, HEADER + "struct vip {\n};\n")


def test_numbers_in_network_order() -> None:
    key = layout.VipKey(tuple(range(16)), 443, 6)
    assert bytes(key) == bytes(range(16)) + b"\x01\xbb\x06\x00"
    assert layout.VipKey.from_buffer_copy(bytes(key)).port == 443
    assert ctypes.sizeof(layout.Ring) == 4 * layout.RING_SLOTS


def test_each_layout_is_told_apart() -> None:
    said = gen_layout.generated(
        replace(SMALL, enums={**SMALL.enums, "dns_sizes": {"LINE": 64}}),
        HEADER + "enum dns_sizes {\n};\n",
        gen_layout.DNS,
    )
    assert "LINE = 64\n" in said
    assert "dns_layout.h" in said
    assert "MapShape" not in said, "the maps of its programs are part of the other"


def test_a_record_of_an_image_says_how_long_it_is() -> None:
    sizes = {name: ctypes.sizeof(getattr(dnslayout, name)) for name in ("DnsSlot", "DnsNode", "DnsAnswer", "DnsView")}
    assert sizes == {"DnsSlot": 8, "DnsNode": 256, "DnsAnswer": dnslayout.LINE, "DnsView": dnslayout.LINE}
    assert ctypes.sizeof(dnslayout.DnsImage) <= dnslayout.DNS_VIEWS_AT
