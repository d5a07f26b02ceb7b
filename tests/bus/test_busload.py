"""Twenty nodes of 2 000 targets over a real NATS server: what one of them spends, and how late an opinion is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.busload import BUDGET, DELAY_S, MOST_PER_S, measure, table
from tests.bus.cluster import Cluster, installed


@pytest.mark.slow
@pytest.mark.skipif(installed() is None, reason="nats-server is not installed")
@pytest.mark.alone
def test_twenty_nodes_share_two_thousand_targets(tmp_path: Path) -> None:
    """The median of the delays is judged: the machine of a test is busy with others, and `bench.busload` shows the rest."""
    with Cluster(tmp_path) as cluster:
        found = measure(cluster.urls, nodes=20, targets=2000, flips=2, seconds=8.0)
    said = "\n".join(table(found))
    assert found["share_of_core"] <= BUDGET, said
    assert max(found["octets_per_s"], found["octets_of_others_per_s"]) <= MOST_PER_S, said
    assert found["delays_s"]["count"] >= 8 * 19, said
    for delays in (found["delays_s"], found["delays_at_others_s"]):
        assert delays["p50"] <= DELAY_S, said
