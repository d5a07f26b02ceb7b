"""One node steers each pool, and all nodes find the same one."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.writers import writer_of
from gslb.model.deployment import PoolId, SiteId

FRA, CLOUD = SiteId("fra"), SiteId("cloud")
POOLS = [PoolId(f"web-{number}") for number in range(300)]
places = st.sets(st.tuples(st.sampled_from(("fra", "iad", "sin")), st.sampled_from([f"n{n}" for n in range(9)])))


def test_every_node_finds_the_same_one() -> None:
    live = [("fra", "fra1"), ("fra", "fra2"), ("iad", "iad1")]
    assert writer_of(PoolId("web-fra"), FRA, live) == "fra2"  # changing this hands over levels while versions are mixed
    assert writer_of(PoolId("web-cloud"), CLOUD, live) == "iad1"
    assert writer_of(PoolId("web-cloud"), CLOUD, []) is None


@given(places, st.sampled_from(POOLS))
def test_a_node_of_the_pools_site_as_long_as_one_lives(live: set[tuple[str, str]], pool: PoolId) -> None:
    found = writer_of(pool, FRA, live)
    own = {node for site, node in live if site == "fra"}
    everybody = {node for _, node in live}
    assert (found in (own or everybody)) if live else found is None
    assert found == writer_of(pool, FRA, sorted(live, reverse=True))


@given(places, st.sampled_from(POOLS), st.data())
def test_who_goes_takes_along_its_own_pools_only(live: set[tuple[str, str]], pool: PoolId, data: st.DataObject) -> None:
    if not live:
        return
    gone = data.draw(st.sampled_from(sorted(live)))
    before, after = (writer_of(pool, CLOUD, among) for among in (live, live - {gone}))
    assert before in {after, gone[1]}


def test_pools_are_divided_among_the_nodes_of_a_site() -> None:
    counts = Counter(writer_of(pool, FRA, [("fra", f"fra{n}") for n in range(3)]) for pool in POOLS)
    assert all(70 <= count <= 130 for count in counts.values())
