"""`gslb check`: load and check, print every problem found; or print one zone as a master file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gslb.cli.options import default_config
from gslb.config.load import Loaded, load
from gslb.config.problem import Problem, Refused, one_of
from gslb.config.zonefile import dump, owner_text
from gslb.model.deployment import PolicyId
from gslb.model.zone import Zone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        default=default_config(),
        help="the deployment's file (GSLB_CONFIG, else gslb.yaml)",
    )
    parser.add_argument(
        "--dump",
        metavar="ZONE",
        help="print this zone as a master file; a dynamic record as all addresses of its pools",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the problems to stderr, then the summary or the zone; 1 where there is an error."""
    try:
        loaded = load(arguments.file)
    except Refused as refused:
        _complain(refused.problems)
        print(f"{arguments.file}: refused", file=sys.stderr)
        return 1
    _complain(loaded.warnings)
    if arguments.dump is None:
        print(_summary(arguments.file, loaded))
        return 0
    return _dump(loaded, arguments.dump)


def _complain(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        print(problem, file=sys.stderr)


def _summary(file: Path, loaded: Loaded) -> str:
    deployment = loaded.deployment
    static = sum(len(rrset.rdatas) for zone in loaded.zones for rrset in zone.rrsets)
    dynamic = sum(len(zone.dynamic) for zone in loaded.zones)
    counts = ", ".join(
        (
            _count(len(deployment.datacenters), "site"),
            _count(len(deployment.nodes), "node"),
            _count(len(deployment.pools), "pool"),
            _count(len(deployment.policies), "policy", "policies"),
            _count(len(loaded.zones), "zone"),
            _count(static, "static record"),
            _count(dynamic, "dynamic record"),
            _count(len(loaded.warnings), "warning"),
        )
    )
    return f"{file}: deployment {deployment.name} is fine: {counts}"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _dump(loaded: Loaded, name: str) -> int:
    by_name = {owner_text(zone.apex).lower(): zone for zone in loaded.zones}
    wanted = name.lower() if name.endswith(".") else name.lower() + "."
    if wanted not in by_name:
        print(f"gslb: zone {name} - {one_of(by_name, wanted)}", file=sys.stderr)
        return 1
    _print_zone(loaded, by_name[wanted])
    return 0


def _print_zone(loaded: Loaded, zone: Zone) -> None:
    def addresses(policy: PolicyId, rtype: int) -> tuple[str, ...]:
        pools = (loaded.deployment.pools[name] for name in loaded.deployment.policies[policy].pools)
        return tuple(dict.fromkeys(str(answer.address) for pool in pools for answer in pool.answers_of(rtype)))

    for line in dump(zone, addresses):
        print(line)
