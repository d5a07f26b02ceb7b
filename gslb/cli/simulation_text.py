"""A what-if as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from gslb.cli.verdict import verdict, worst_loss
from gslb.cli.whatif import Losses, WhatIf
from gslb.decide.marks import Over
from gslb.decide.simulate import Change, PolicyOutcome, PoolSide
from gslb.decide.spread import Rest

_STYLES = {Over.NONE: "", Over.SOFT: "yellow", Over.HARD: "bold red"}


def show(found: WhatIf, console: Console) -> None:
    """Print a comparison: pools, policies, remarks, the verdict."""
    console.print(f"clients are weighed {found.weights}", highlight=False)
    console.print()
    console.print(_pools(found))
    console.print()
    console.print(_policies(found))
    console.print()
    _end(found.notes, verdict(found), console)


def show_losses(found: Losses, console: Console) -> None:
    """Print what the loss of each site would do."""
    console.print(f"clients are weighed {found.weights}", highlight=False)
    console.print()
    table = _table("if this fails", "move", "farther by", "fullest then", "at", "over soft", "over hard", "no answer")
    for site in found.sites:
        table.add_row(
            site.site,
            _percent(site.moved),
            "-" if site.added_km is None else f"{site.added_km:,.0f} km",
            site.worst or "-",
            _percent(site.share),
            ", ".join(site.over_soft) or "-",
            ", ".join(site.over_hard) or "-",
            _percent(site.unanswered) if site.unanswered else "-",
            style=_STYLES[Over.HARD if site.over_hard else Over.SOFT if site.over_soft else Over.NONE],
        )
    console.print(table)
    console.print()
    _end(found.notes, worst_loss(found), console)


def _end(notes: tuple[str, ...], last: str, console: Console) -> None:
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    console.print(last, highlight=False, markup=False)


def _pools(found: WhatIf) -> Table:
    table = _table(
        "pool", "site", "answers", "then", "load", "then", "carries then", "soft", "hard", "waits", "then", "sheds then"
    )
    for pool in found.simulation.pools:
        before, after = pool.before, pool.after
        side = after or before
        marks = side.marks if side else None
        table.add_row(
            pool.pool,
            pool.site,
            _percent(pool.answers.before),
            _percent(pool.answers.after),
            _load(before),
            _load(after),
            _amount(after),
            _percent(marks.soft if marks else None),
            _percent(marks.hard if marks else None),
            _percent(before.waiting if before else None),
            _percent(after.waiting if after else None),
            f"{after.shed.level:.1%} ({after.shed.cause})" if after and after.shed and after.shed.level else "-",
            style=_STYLES[after.over if after else Over.NONE],
        )
    return table


def _policies(found: WhatIf) -> Table:
    table = _table(
        "policy", "answers move", "networks move", "of", "mean km", "then", "p90 km", "then", "no answer then"
    )
    for policy in found.simulation.policies:
        before, after = found.distances.get(policy.policy, (None, None))
        mean = Change(before.mean_km, after.mean_km) if before and after else policy.km
        empty = policy.answers.get(Rest.UNANSWERED)
        table.add_row(
            policy.policy,
            _percent(policy.moved),
            *_networks(policy),
            *(("-", "-") if mean is None else (f"{mean.before:,.0f}", f"{mean.after:,.0f}")),
            f"{before.p90_km:,.0f}" if before else "-",
            f"{after.p90_km:,.0f}" if after else "-",
            _percent(empty.after) if empty and empty.after else "-",
        )
    return table


def _networks(policy: PolicyOutcome) -> tuple[str, str]:
    if not policy.networks:
        return "-", "-"
    return f"{policy.moved_networks:,}", f"{policy.networks:,}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _load(side: PoolSide | None) -> str:
    """The load as a share of capacity: a question mark where nobody knows it."""
    if side is None:
        return "-"
    return "?" if side.carried.share is None else f"{side.carried.share:.1%}"


def _amount(side: PoolSide | None) -> str:
    if side is None or side.carried.amount is None:
        return "-"
    return f"{side.carried.amount:,.0f} {side.carried.unit}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
