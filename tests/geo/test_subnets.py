"""The table of a node that knows no places, against the general way of making one."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gslb.geo.build import build_table
from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.model.deployment import Deployment
from tests.geo.places import places_of
from tests.geo.test_build import check_minimal, deployments, networks
from tests.geo.worlds import deployment, nearest_of, policy, pool, rule

POOLS = [pool("fra"), pool("iad", ["192.0.2.1"])]


@st.composite
def covered(draw: st.DrawFn) -> Deployment:
    """Two policies of many subnets in several rules, nested and side by side."""
    subnets = st.lists(networks(24, 56), unique=True, max_size=6)
    policies = [
        policy(name, rule("fra", subnets=draw(subnets)), rule("iad", subnets=draw(subnets)), rule("iad", "fra"))
        for name in ("a", "b")
    ]
    return deployment(policies, POOLS)


@settings(max_examples=max(15, settings().max_examples // 10))  # two tables of 2^24 entries each
@given(st.one_of(deployments(), covered()))
@example(nearest_of("fra", "iad"))
def test_equals_the_table_of_no_places(model: Deployment) -> None:
    table = subnet_table(model)
    assert table == build_table(model, places_of([]))
    check_minimal(LocationTable.from_buffer(table))
