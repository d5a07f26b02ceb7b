"""What a machine or a driver lacks for XDP -> one sentence, and the line that mends it.  Pure: the facts come from xdp/machine.py.

Rule 1: every refusal names what was found, what is needed, and a line that can be pasted; where no line is known it says so.
Rule 2: the kernel's own words come first; what is known of the driver explains them.
Sources: Documentation/networking of Linux by driver; limits of drivers as their XDP set-up functions check them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 12, 21, 38, 39
OLDEST = (6, 1)  # Debian 12
BPFFS = "/sys/fs/bpf"
LEAST_MTU6 = 1280  # that every link carries (RFC 8200 section 5)
_VETH_MTU, _GVE_MTU, _VIRTIO_MTU = 3520, 2032, 3506
_PAGE_MTU = 3498  # one page less headroom and skb_shared_info: what ena takes, the least of the drivers with one buffer a packet
SUB_DEVICES = frozenset({"vlan", "macvlan", "ipvlan", "macvtap"})  # they stand on a parent
_TUNNELS = frozenset(
    {"ipip", "sit", "ip6tnl", "gre", "gretap", "ip6gre", "ip6gretap", "vxlan", "geneve", "wireguard", "ppp"}
)


class Refused(Exception):
    """The data plane cannot run here: why, and the line that mends it (empty: none is known)."""

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(f"{why}; {mend}" if mend else why)
        self.why = why
        self.mend = mend


class Taken(Refused):
    """Another process has what is wanted; it may be free soon."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of this machine.  `missing`: object files that are not there; `capabilities`: effective ones, as bits."""

    libbpf: bool = True
    missing: tuple[str, ...] = ()
    kernel: tuple[int, int] = OLDEST
    capabilities: int = (1 << 41) - 1
    root_of_all: bool = True  # not in a user namespace
    bpffs: bool = True


@dataclass(frozen=True, slots=True)
class Nic:
    """What matters of one interface.  `channels` and `most_channels`: combined or receiving queues; `parent`: of a sub-device."""

    name: str
    kind: str = ""  # as `ip -d link` calls it: vlan, bond, veth; empty for hardware
    driver: str = ""
    mtu: int = 1500
    channels: int = 0
    most_channels: int = 0
    lro: bool = False
    gro: bool = False
    loopback: bool = False
    parent: str = ""


def refusal(machine: Machine) -> Refused | None:
    """Why no program can be loaded here, or None."""
    if not machine.libbpf:
        return Refused("libbpf.so.1 is not installed", "apt-get install libbpf1")
    if machine.missing:
        return Refused(*not_built(machine.missing))
    if machine.kernel < OLDEST:
        found, needed = (".".join(map(str, version)) for version in (machine.kernel, OLDEST))
        return Refused(
            f"the kernel is Linux {found}, older than {needed}", "apt-get install linux-image-amd64, then reboot"
        )
    lacking = _lacking(machine.capabilities)
    if lacking or not machine.root_of_all:
        return _no_right(lacking, root_of_all=machine.root_of_all)
    if not machine.bpffs:
        return Refused(f"no bpffs is mounted on {BPFFS}", f"mount -t bpf bpf {BPFFS}")
    return None


def not_built(missing: tuple[str, ...]) -> tuple[str, str]:
    """Why object files are not there, and the line that makes them."""
    return (
        f"the XDP programs are not built ({', '.join(missing)}): clang was missing when gslb was installed",
        "apt-get install clang libbpf-dev linux-libc-dev && python3 -m xdp.build",
    )


def _lacking(capabilities: int) -> list[str]:
    if capabilities >> CAP_SYS_ADMIN & 1 and capabilities >> CAP_NET_ADMIN & 1:
        return []
    wanted = {"CAP_BPF": CAP_BPF, "CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_PERFMON": CAP_PERFMON}
    return [name for name, bit in wanted.items() if not capabilities >> bit & 1]


def _no_right(lacking: list[str], *, root_of_all: bool) -> Refused:
    if not root_of_all:
        return Refused(
            "this container has a user namespace of its own, where the kernel loads no XDP program",
            "run it with --privileged --network host --userns host",
        )
    return Refused(
        f"the process has no {', '.join(lacking)}: XDP needs them",
        "run gslb as root, or give its unit AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON",
    )


def no_interface(name: str, known: list[str]) -> tuple[str, str]:
    """Why `name` cannot be attached to: it is not there."""
    if not known:
        return f"there is no interface {name}, nor any other but loopback", ""
    return (
        f"there is no interface {name} (there are {', '.join(sorted(known))})",
        "name one of them in nodes: interfaces",
    )


def native_refused(nic: Nic, said: str) -> tuple[str, str]:
    """Why the driver does not take the program, and the line that mends it; `said` are the kernel's words."""
    known = _known(nic)
    if known is None:
        where = f"driver {nic.driver}" if nic.driver else f"{nic.name}"
        known = (f"{where} does not take XDP natively here", "")
    explained, mend = known
    return f"{said}: {explained}" if said else explained, mend


def generic_costs(nic: Nic) -> tuple[str, str]:
    """What is wrong in generic mode besides, and the line that mends it; empty where nothing is."""
    switched = [name for name, on in (("gro", nic.gro), ("lro", nic.lro)) if on]
    if not switched:
        return "", ""
    which = " and ".join(name.upper() for name in switched)
    return (
        f"{which} {'join' if len(switched) > 1 else 'joins'} packets of {nic.name} before the program sees them, "
        "to what no backend or tunnel takes",
        f"ethtool -K {nic.name} {' '.join(f'{name} off' for name in switched)}",
    )


def narrow(mtu: int, overhead: int) -> str:
    """Why a way takes too little for IPv6 in a tunnel whose outer headers are `overhead` octets; empty where it does not."""
    if mtu - overhead >= LEAST_MTU6:
        return ""
    return (
        f"the way to it takes {mtu} octets, which leaves {mtu - overhead} in its tunnel, and IPv6 needs {LEAST_MTU6}: "
        f"give the links to it an MTU of at least {LEAST_MTU6 + overhead}"
    )


def _known(nic: Nic) -> tuple[str, str] | None:
    half = max(1, nic.most_channels // 2)
    words = {
        name: getattr(nic, name) or "its parent" for name in ("name", "kind", "driver", "parent", "mtu", "channels")
    }
    for applies, why, mend in _REASONS:
        if applies(nic):
            return why.format(**words, half=half), mend.format(**words, half=half)
    return None


def _of(driver: str, *, above: int = 0, queues: bool = False, lro: bool = False) -> Callable[[Nic], bool]:
    """An interface of this driver whose MTU is above a limit, that uses more than half of its queues, that has LRO on."""

    def applies(nic: Nic) -> bool:
        too_many = nic.channels > max(1, nic.most_channels // 2)
        return nic.driver == driver and nic.mtu > above and (too_many or not queues) and (nic.lro or not lro)

    return applies


_HALF = "{driver} keeps half of its queues for XDP: {channels} are in use, at most {half} may be"
_REASONS: tuple[tuple[Callable[[Nic], bool], str, str], ...] = (  # the first that applies; specific ones first
    (
        lambda nic: nic.loopback,
        "loopback has no driver to run it",
        "name the interface that clients' packets come in by",
    ),
    (
        lambda nic: nic.kind in SUB_DEVICES,
        "a {kind} runs no XDP natively, and the program reads VLAN tags itself",
        "use interface {parent} instead of {name}",
    ),
    (
        lambda nic: nic.kind in ("team", "bridge"),
        "a {kind} runs no XDP natively",
        "use its ports instead of {name}",
    ),
    (
        lambda nic: nic.kind == "bond",
        "a bond runs XDP in modes active-backup, balance-rr, balance-xor and 802.3ad, where each slave's driver does",
        "ip link set {name} type bond xmit_hash_policy layer3+4",
    ),
    (
        lambda nic: nic.kind == "veth" and nic.mtu > _VETH_MTU,
        "a veth takes XDP while its peer's MTU is at most about 3520, it is {mtu} here",
        "ip link set {name} mtu 1500, and the same for its peer",
    ),
    (
        lambda nic: nic.kind == "veth",
        "a veth takes XDP while its peer's MTU fits into one page, and its peer has no more queues to send by than it has to receive by",
        "ethtool -L {name} rx {channels}, and its peer: ethtool -L PEER tx {channels}",
    ),
    (
        lambda nic: nic.kind in _TUNNELS,
        "a tunnel ({kind}) has no driver to run it",
        "name the interface that the tunnel's packets come in by",
    ),
    (
        _of("ena", above=_PAGE_MTU),
        f"ena takes XDP up to an MTU of {_PAGE_MTU}, it is {{mtu}}",
        f"ip link set {{name}} mtu {_PAGE_MTU}",
    ),
    (_of("ena", queues=True), _HALF, "ethtool -L {name} combined {half}"),
    (
        _of("gve", above=_GVE_MTU),
        f"gve takes XDP up to an MTU of {_GVE_MTU}, it is {{mtu}}",
        "ip link set {name} mtu 1460",
    ),
    (_of("gve", lro=True), "gve takes no XDP while LRO is on", "ethtool -K {name} lro off"),
    (_of("gve", queues=True), _HALF, "ethtool -L {name} rx {half} tx {half}"),
    (
        _of("virtio_net", above=_VIRTIO_MTU),
        f"virtio_net takes XDP up to an MTU of {_VIRTIO_MTU}, it is {{mtu}}",
        "ip link set {name} mtu 1500",
    ),
    (
        _of("virtio_net"),
        "the host joins packets or leaves checksums open, and lets the guest not switch that off",
        "ethtool -K {name} lro off gro-hw off  # refused: the host's guest_tso4, guest_tso6, guest_ecn, guest_ufo and guest_csum must be off",
    ),
    (_of("bnxt_en", queues=True), _HALF, "ethtool -L {name} combined {half}"),
    (
        lambda nic: nic.mtu > _PAGE_MTU,
        "{driver} keeps a packet in one buffer while XDP runs, and an MTU of {mtu} does not fit",
        "ip link set {name} mtu 1500",
    ),
    (lambda nic: nic.lro, "LRO joins packets before XDP sees them", "ethtool -K {name} lro off"),
)
