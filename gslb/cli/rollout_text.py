"""The version of the configuration, and overrides on their way to other nodes, as lines of `gslb status`.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

_MOST = 3  # lines of a refusal


def rollout_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines; none while no version was ever published and all overrides are known everywhere."""
    rollout = found.get("rollout") or {}
    published, version = rollout.get("published"), rollout.get("in_force", 0)
    if version and published is not None and version == published["version"]:
        yield f"config      {_version(published)}"
    elif published is not None:
        own = f"version {version}" if version else "its own file"
        yield f"config      {own}; published is {_version(published)}"
    elif version:
        yield f"config      version {version}"
    for node, refusal in sorted(rollout.get("refused", {}).items()):
        told = refusal["lines"]
        for line in told[:_MOST]:
            yield f"config      node {node} refuses version {refusal['version']}: {line}"
        if len(told) > _MOST:
            yield f"config      ... and {len(told) - _MOST} lines more; --json has all"
    agreement = found.get("agreement") or {}
    if agreement.get("waiting"):
        yield f"overrides   {agreement['waiting']:,} not on the bus yet: other nodes may not know them"
    refused = sum(agreement.get("refused", {}).values())
    if refused:
        causes = ", ".join(f"{cause} {count:,}" for cause, count in sorted(agreement["refused"].items()))
        yield f"overrides   {refused:,} refused from the bus: {causes}"


def _version(record: Mapping[str, Any]) -> str:
    since = datetime.fromtimestamp(record["since"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    why = f": {record['why']}" if record["why"] else ""
    return f"version {record['version']} since {since}, by {record['who']} on {record['node']}{why}"
