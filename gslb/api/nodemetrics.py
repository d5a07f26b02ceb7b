"""Metrics of the nameserver, the plan and the node itself.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from gslb import __version__
from gslb.api.metric import counter, gauge
from gslb.config.zonefile import type_text
from gslb.control.desk import Figures
from gslb.control.report import Report
from gslb.model.deployment import Deployment, PoolId
from gslb.model.plan import Plan
from gslb.nameserver.counters import Counter

_ARRIVALS = {
    Counter.FAST: ("udp", "fast"),
    Counter.GENERAL: ("udp", "general"),
    Counter.TCP: ("tcp", "general"),
    Counter.NATIVE: ("udp", "native"),
    Counter.XDP: ("udp", "xdp"),
}
_RESPONSES = {
    Counter.ANSWERED: ("NOERROR", "answer"),
    Counter.NODATA: ("NOERROR", "nodata"),
    Counter.REFERRAL: ("NOERROR", "referral"),
    Counter.NXDOMAIN: ("NXDOMAIN", "error"),
    Counter.REFUSED: ("REFUSED", "error"),
    Counter.FORMERR: ("FORMERR", "error"),
    Counter.NOTIMP: ("NOTIMP", "error"),
    Counter.SERVFAIL: ("SERVFAIL", "error"),
    Counter.BADVERS: ("BADVERS", "error"),
    Counter.NOTAUTH: ("NOTAUTH", "error"),
    Counter.YXDOMAIN: ("YXDOMAIN", "error"),
    Counter.BADCOOKIE: ("BADCOOKIE", "error"),
}
_OTHERS = {
    Counter.DROPPED: ("gslb_dns_dropped_total", "Messages that were never answered: responses, and fragments."),
    Counter.TRUNCATED: ("gslb_dns_truncated_total", "Replies with TC set."),
    Counter.ECS: ("gslb_dns_client_subnets_total", "Queries with a valid client subnet."),
    Counter.OVER_LIMIT: (
        "gslb_dns_over_limit_total",
        "Responses over the limit of their network; a dry run sends them.",
    ),
    Counter.LIMITED: ("gslb_dns_limited_total", "Of those, responses that were not sent."),
    Counter.SLIPPED: ("gslb_dns_slipped_total", "Of those, responses with TC or BADCOOKIE in their place."),
    Counter.COOKIES: ("gslb_dns_cookies_total", "Queries with a DNS cookie."),
    Counter.COOKIES_VALID: ("gslb_dns_cookies_valid_total", "Of those, queries with a good one of ours."),
}
IMAGE_BYTES = "Size of what executors in C answer from.", ()
LEFT_OUT = "What that leaves to the reference, for want of room.", ("what",)
LAST_RESORT = "last_resort"  # in place of pool and site, for addresses of last resort


def dns_metrics(report: Report, figures: Figures, model: Deployment | None) -> Iterator[Metric]:
    """What the workers count, also those that ended."""
    counts: Mapping[str, int] = report["counters"]
    arrivals = [(labels, counts[one.name.lower()]) for one, labels in _ARRIVALS.items()]
    yield counter("gslb_dns_queries_total", "Messages that came, by way.", ("transport", "path"), arrivals)
    responses = [(labels, counts[one.name.lower()]) for one, labels in _RESPONSES.items()]
    yield counter("gslb_dns_responses_total", "Replies, by response code.", ("rcode", "kind"), responses)
    for one, (name, what) in _OTHERS.items():
        yield counter(name, what, (), [((), counts[one.name.lower()])])
    what = "Queries that executors in C handed to the reference, by reason."
    yield counter("gslb_dns_passed_up_total", what, ("reason",), _by_name(report["passed_up"].items()))
    what = "Queries that executors in C answered, by the type asked."
    yield counter("gslb_dns_types_total", what, ("type",), _by_name(report["types"].items()))
    answers = [
        ((_site(model, pool), pool or LAST_RESORT, type_text(rtype)), count)
        for (pool, rtype), count in figures.answers.items()
    ]
    what = "Answers with addresses of a pool, by record type."
    yield counter("gslb_dns_answers_total", what, ("site", "pool", "type"), answers)
    kinds = dict.fromkeys(("udp", "tcp"), 0)
    for worker in report["workers"]:
        kinds[worker["kind"]] = kinds.get(worker["kind"], 0) + bool(worker["alive"])
    yield gauge("gslb_dns_workers", "Worker processes that are alive.", ("kind",), _by_name(kinds.items()))


def node_metrics(report: Report, figures: Figures, plan: Plan | None, model: Deployment | None) -> Iterator[Metric]:
    """The plan in force, the node's problems, and what follows if a site fails."""
    yield gauge("gslb_build_info", "1, with the version of gslb.", ("version",), [((__version__,), 1)])
    generation = report["generation"]
    versions = [] if generation is None else [((), generation["plan_version"])]
    yield gauge("gslb_plan_version", "Version of the plan that is served.", (), versions)
    image = None if generation is None else generation["image"]
    yield gauge("gslb_dns_image_bytes", *IMAGE_BYTES, [] if image is None else [((), image["octets"])])
    left_out = {} if image is None else image["left_out"]
    yield gauge("gslb_dns_image_left_out", *LEFT_OUT, _by_name(left_out.items()))
    ages = [] if generation is None else [((), generation["plan_age_s"])]
    yield gauge("gslb_plan_age_seconds", "Time since that plan was put in force.", (), ages)
    ttls = {} if plan is None else {name: policy.ttl for name, policy in plan.policies.items()}
    yield gauge(
        "gslb_policy_ttl_seconds", "How long answers of a policy may be kept now.", ("policy",), _by_name(ttls.items())
    )
    problems = {what: len(lines) for what, lines in report["problems"].items()}
    yield gauge("gslb_problems", "Things that are wrong with the node now.", ("what",), _by_name(problems.items()))
    blind = float(report.get("blind_since") is not None)
    what = "1 while no reference target can be reached, so that this site's checks do not count."
    yield gauge("gslb_blind", what, (), [((), blind)])
    sites = () if model is None else model.datacenters
    losses = {site: loss for site, loss in figures.losses.items() if site in sites}
    over = {site: loss.over_hard for site, loss in losses.items()}
    what = "Pools that the loss of this site would bring over their hard mark now, or make fuller there."
    yield gauge("gslb_site_loss_over_hard", what, ("site",), _by_name(over.items()))
    worst = {site: loss.worst for site, loss in losses.items() if loss.worst is not None}
    what = "Load, as a share of capacity, of the fullest pool that the loss of this site brings over hard, else of all."
    yield gauge("gslb_site_loss_load_ratio", what, ("site",), _by_name(worst.items()))


def _site(model: Deployment | None, pool: PoolId) -> str:
    if not pool:
        return LAST_RESORT
    known = model.pools.get(pool) if model is not None else None
    return known.datacenter if known is not None else ""


def _by_name(values: Iterable[tuple[str, float]]) -> list[tuple[tuple[str, ...], float]]:
    return [((name,), value) for name, value in values]
