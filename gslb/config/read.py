"""The nodes of `gslb.yaml` -> a draft of the deployment, every problem reported.  Pure."""

from __future__ import annotations

from gslb.config.draft import Draft
from gslb.config.keys import ROOT
from gslb.config.kinds import Reported
from gslb.config.problem import Problems
from gslb.config.read_anycast import read_anycast, read_speakers
from gslb.config.read_balancer import read_balancer
from gslb.config.read_monitors import read_monitors
from gslb.config.read_policies import read_policies
from gslb.config.read_pools import read_pools
from gslb.config.read_records import ZONES, read_records
from gslb.config.read_services import DEPLOYMENT, read_secret, read_services
from gslb.config.read_sites import read_datacenters, read_geo, read_nodes
from gslb.config.section import Section
from gslb.config.source import Node
from gslb.model.deployment import Deployment


def read(node: Node, problems: Problems) -> tuple[Draft, tuple[str, ...]]:
    """The draft, without zones, and the patterns of its zone files.  Raises Reported where nothing can be read."""
    root = Section(node, (), ROOT, problems)
    datacenters = read_datacenters(root)
    pools = read_pools(root)
    burst = frozenset(p.name for p in pools.values() if p.datacenter in datacenters and datacenters[p.datacenter].burst)
    services = read_services(root)
    secret_env, secret_file = read_secret(root)
    try:
        name = root.get(DEPLOYMENT)
    except Reported:
        name = ""
    deployment = Deployment(
        name=name,
        nodes=read_nodes(root, datacenters),
        datacenters=datacenters,
        pools=pools,
        policies=read_policies(root, burst),
        dns=services.dns,
        api=services.api,
        geo=read_geo(root),
        monitors=read_monitors(root),
        anycast=read_anycast(root),
        bgp=read_speakers(root),
        reference=services.reference,
        limits=services.limits,
        bus=services.bus,
        secret_env=secret_env,
        secret_file=secret_file,
        balancer=read_balancer(root),
    )
    patterns = root.get(ZONES)
    return Draft(root.node, deployment, read_records(root), problems), patterns
