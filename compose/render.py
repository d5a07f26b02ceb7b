"""Topology -> the files of every machine in a folder.  IO.

    FOLDER/gslb/         gslb.yaml, zones/, geography.mmdb, secret, token: the same for all nodes and backends
    FOLDER/MACHINE/      bird.conf, frr.conf, nginx.conf, nats.conf, unbound.conf or recursor.conf

`python -m compose.render FOLDER` writes them as containers need them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from compose import geography, nodefiles, routing, services
from compose.topology import ZONE, Machine, Topology, lab

SECRET = "the lab keeps no secrets: 0123456789abcdef\n"  # noqa: S105  of the lab, where all may know it
TOKEN = "lab-token-that-everybody-may-know\n"  # noqa: S105


def files(topology: Topology, machine: Machine, run: str) -> dict[str, str]:
    """What a machine reads of its own, by file name; `run` is its folder for sockets and what is kept."""
    makers: dict[str, tuple[str, Callable[[], str]]] = {
        "bird": ("bird.conf", lambda: routing.bird(topology, machine)),
        "frr": ("frr.conf", lambda: routing.frr(topology, machine)),
        "backend": ("nginx.conf", lambda: services.nginx(machine, run)),
        "server": ("nginx.conf", lambda: services.nginx(machine, run)),
        "nats": ("nats.conf", lambda: services.nats(topology, machine, run)),
        "unbound": ("unbound.conf", lambda: services.unbound(run)),
        "recursor": ("recursor.conf", lambda: services.recursor(run)),
    }
    if machine.runs not in makers:
        return {}
    name, make = makers[machine.runs]
    return {name: make()}


def write(topology: Topology, folder: Path, run: str = "/run/lab") -> None:
    """Write all; `run` is as for `files`."""
    ours = folder / "gslb"
    (ours / "zones").mkdir(parents=True, exist_ok=True)
    (ours / "gslb.yaml").write_text(nodefiles.config(topology))
    (ours / "zones" / f"{ZONE}.yaml").write_text(nodefiles.zone(topology))
    for name, text in (("secret", SECRET), ("token", TOKEN)):
        (ours / name).write_text(text)
        (ours / name).chmod(0o600)
    geography.write(topology, ours / "geography.mmdb")
    for machine in topology.machines:
        made = folder / machine.name
        for name, text in files(topology, machine, run).items():
            made.mkdir(exist_ok=True)
            (made / name).write_text(text)


if __name__ == "__main__":
    write(lab(), Path(sys.argv[1]))
