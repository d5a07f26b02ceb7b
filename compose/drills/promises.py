"""What drills promise, as it is checked: a story -> what of it was not kept.  Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from compose.drills import result
from compose.drills.result import Story
from compose.topology import Topology


def nobody_fails(story: Story, topology: Topology) -> list[str]:
    """No request fails but what is counted apart."""
    found = result.total(story, topology)
    return [f"requests that failed: {found.failed}"] if found.failed else []


def nobody_fails_of_unicast(story: Story, topology: Topology) -> list[str]:
    """As above, but what is fetched by anycast may fail."""
    heard = {audience: told for audience, told in story.heard.items() if audience.kind != "anycast"}
    return nobody_fails(replace(story, heard=heard), topology)


def only_at(site: str, story: Story, topology: Topology) -> list[str]:
    """Who comes to the site's own address may fail, nobody else."""
    address = topology.site(site).vip
    heard = {
        audience: [one for one in told if not one.failed or one.address != address]
        for audience, told in story.heard.items()
    }
    return nobody_fails(replace(story, heard=heard), topology)


def within(story: Story, limits: Mapping[str, float]) -> list[str]:
    """These facts of the story are at most so much."""
    return [
        f"{what}: {story.facts.get(what)}, more than {most:g}"
        for what, most in limits.items()
        if not story.facts.get(what, math.inf) <= most
    ]
