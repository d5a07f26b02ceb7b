"""Each program passes the verifier, alone and beside the others; what it has grown to is printed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xdp import kernelinfo
from xdp.libbpf import library, require
from xdp.loader import BALANCER, DNS, ENTRY, DataPlane

pytestmark = pytest.mark.root

MOST_VERIFIED = 500_000  # of the million that the verifier walks; beyond half of it a small change may be one too many


VERIFIED_AT, INFO_OCTETS = 216, 232  # `verified_insns` of struct bpf_prog_info (Linux uapi bpf.h, since 5.16)


def verified(fd: int) -> int:
    """How many instructions the verifier walked."""
    info, size = ctypes.create_string_buffer(INFO_OCTETS), ctypes.c_uint32(INFO_OCTETS)
    require(library().bpf_obj_get_info_by_fd(fd, info, ctypes.byref(size)), "ask of a program")
    return int.from_bytes(info.raw[VERIFIED_AT : VERIFIED_AT + 4], sys.byteorder)


@pytest.mark.parametrize("programs", [(), (BALANCER,), (DNS,), (BALANCER, DNS)], ids="-".join)
def test_each_loads_in_every_combination(
    home: Path, objects: Path, programs: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    plane = DataPlane.open(home, objects, programs=programs)
    for name in (ENTRY, *programs):
        fd = plane.program(name)
        info = kernelinfo.program_info(fd)
        walked = verified(fd)
        with capsys.disabled():
            sys.stdout.write(f"\n  {name}: {info.lengths[1] // 8} instructions, {walked} verified")
        assert walked < MOST_VERIFIED
    plane.close()


def test_dns_has_none_of_the_balancers_maps(home: Path, objects: Path, tool: Callable[[str], str]) -> None:
    tool("clang")
    plane = DataPlane.open(home, objects, programs=())
    plane.use(DNS)
    assert "new_flows" not in plane.maps
    assert {"dns_images", "geographies", "dns_blocks", "dns_addresses", "dns_settings"} <= plane.maps.keys()
    plane.use(BALANCER)
    assert "new_flows" in plane.maps
    plane.close()
