"""What the controller and the balancer's process say to each other, framed by `gslb.model.framing`.  Pure.

Rule 1: the controller always says the whole wanted state (`Want`); the process finds out itself what is new.
Rule 2: times are of the machine's monotonic clock, which both ends share; counters only grow, until `Pulse.born` changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gslb.model.deployment import Attach
from gslb.model.plan import BalancerTable


@dataclass(frozen=True, slots=True)
class Probe:
    """Packets that this node sends with the socket mark `mark` to a VIP go to this backend, as the balancer would send them."""

    mark: int
    pool: str
    backend: str


@dataclass(frozen=True, slots=True)
class DnsFile:
    """One file of a generation (`gslb.nameserver.generation.File`): its path, octets, and the BLAKE2b-16 of them in hex."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class DnsTables:
    """What is answered from: an image, and the location table that it was made for."""

    image: DnsFile
    geography: DnsFile


@dataclass(frozen=True, slots=True)
class DnsWant:
    """What is answered in the driver.  `tables` None: nothing new; what is in force stays.

    `addresses`: addresses and ports; `probe`: a query in hex, which the image answers, to ask the program now and then.
    `one_in`: of so many queries one is told of (`Pulse.queries`); 0: nobody listens.
    """

    tables: DnsTables | None
    addresses: tuple[tuple[str, int], ...]
    interfaces: tuple[str, ...]
    attach: Attach
    probe: str = ""
    one_in: int = 0


@dataclass(frozen=True, slots=True)
class Want:
    """What the balancer of this node is to do from now on.

    `version` is of the plan: an older one, or another deployment than the running one's, is refused.  `key` is the secret of the
    flow hash, 16 octets in hex.  `source4` and `source6` are prefixes.
    """

    serial: int
    deployment: str
    version: int
    interfaces: tuple[str, ...]
    attach: Attach
    key: str
    source4: str
    source6: str
    flow_idle_s: float
    tables: Mapping[str, BalancerTable]
    probes: tuple[Probe, ...] = ()
    dns: DnsWant | None = None  # none: nothing is answered in the driver


class Attached(StrEnum):
    """How the program runs on an interface."""

    NATIVE = "native"
    GENERIC = "generic"
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface; `why` it is not native, and `mend`: the line that mends it, where one is known.

    `taken`: another's program runs there.
    """

    name: str
    attached: Attached
    why: str = ""
    mend: str = ""
    taken: bool = False


@dataclass(frozen=True, slots=True)
class TableState:
    """One pool's table in force: `digest` is equal on balancers that send every flow to the same backend.

    `slots[backend]`: how many of RING_SLOTS; `moving`: slots whose earlier backend still keeps flows; `unreachable`: backends whose next hop is
    not known, and why; `narrow`: those whose way takes too little, and why.
    """

    digest: str
    slots: Mapping[str, int]
    moving: int = 0
    unreachable: Mapping[str, str] = field(default_factory=dict)
    narrow: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DnsState:
    """DNS in the driver as it is in force.  `refused`: why nothing is answered there; empty where something is.

    `version` is of the plan, `image` the digest of the file in force; `octets` of all tables in the kernel; `silent`: why the program did not
    answer when it was asked, empty where it did; `wrong`: that is no passing on, which workers answer then, but an answer that is none.
    """

    refused: str = ""
    version: int = 0
    image: str = ""
    octets: int = 0
    addresses: int = 0
    silent: str = ""
    problems: tuple[str, ...] = ()
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What is in force, after `serial`.  `refused`: why the balancer does not run; empty where it does.

    `problems` are what people should mend, while it runs all the same.  `probes`: the marks by which packets of this node reach
    their backend now; those of any other mark go where routes lead.
    """

    serial: int
    version: int
    refused: str
    interfaces: tuple[Interface, ...] = ()
    tables: Mapping[str, TableState] = field(default_factory=dict)
    adopted: bool = False
    problems: tuple[str, ...] = ()
    probes: tuple[int, ...] = ()
    dns: DnsState | None = None  # none: it is not wanted


@dataclass(frozen=True, slots=True)
class Count:
    """Counters of one VIP or backend, summed over CPUs: the fields of `struct vip_counters` and `backend_counters`."""

    packets: int = 0
    octets: int = 0
    syns: int = 0
    untracked_syns: int = 0
    handshakes: int = 0
    resent_syns: int = 0
    udp_flows: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Handshakes:
    """Handshakes of clients of one network (the base of its /24 or /56) with one backend: round trips in microseconds."""

    network: str
    pool: str
    backend: str
    rtts_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """What was counted while an image was in force, in the order of `struct dns_counts`, its cells and its marks.

    `indexes` (32 bits each) are of the counts that are not 0, `counts` (64 bits each) stand beside them; both in this machine's order.
    """

    image: str  # digest of its file
    indexes: bytes
    counts: bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many connections there are, and the standard error of that: 0 where each was counted."""

    flows: float = 0.0
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """Once a second: all counters.  `vips[pool]["192.0.2.10 tcp/80"]`, `backends[pool][address]`, `events[name of enum event_count]`.

    `active_vips` and `active_backends` are the connections that there are, by the same names; empty where that is not known.
    """

    at: float
    born: float
    vips: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    backends: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    handshakes: tuple[Handshakes, ...] = ()
    active_vips: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    active_backends: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    dns: tuple[Block, ...] = ()  # images that came out of force since the last pulse, and last the one that is
    queries: bytes = b""  # structs dns_event since the last pulse, where they are wanted
    queries_lost: int = 0  # what is missing among them


@dataclass(frozen=True, slots=True)
class Report:
    """From the process to the controller: whatever is new."""

    state: State | None = None
    pulse: Pulse | None = None
