"""Every key of `gslb.yaml`, and the reference of them.

`python -m gslb.config.keys` prints the table that docs/config.md holds.
"""

from __future__ import annotations

import sys
from typing import Any

from gslb.config import (
    read_anycast,
    read_balancer,
    read_bus,
    read_monitors,
    read_policies,
    read_pools,
    read_records,
    read_services,
    read_sites,
)
from gslb.config.section import Key

KEYS: tuple[Key[Any], ...] = (
    read_services.DEPLOYMENT,
    read_services.SECRET_ENV,
    read_services.SECRET_FILE,
    *read_sites.KEYS,
    *read_monitors.KEYS,
    *read_pools.KEYS,
    *read_balancer.KEYS,
    *read_policies.KEYS,
    *read_records.KEYS,
    *read_anycast.KEYS,
    *read_services.KEYS[3:],
    *read_bus.KEYS,
)
ROOT: tuple[Key[Any], ...] = tuple(key for key in KEYS if "." not in key.path)


def table() -> str:
    """The reference as a Markdown table, one line a key."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in KEYS:
        default = "required" if key.required else f"`{key.default}`" if key.default is not None else ""
        lines.append(" | ".join((f"| `{key.path}`", key.kind.name.replace("|", "\\|"), default, key.meaning)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
