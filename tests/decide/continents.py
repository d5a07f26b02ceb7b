"""Policies of `view: regional`: random ones, what continents say otherwise, and the worlds as one continent sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from gslb.model.deployment import Deployment, PolicyId, View
from gslb.model.history import History, policy_of
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import Health, Verdict, Verdicts, World
from tests.decide.sequences import targets_of

CONTINENTS = ("AS", "EU")


@st.composite
def regional(draw: st.DrawFn, model: Deployment) -> Deployment:
    """The same with a regional view for one policy at least."""
    names = draw(st.sets(st.sampled_from(sorted(model.policies)), min_size=1))
    policies = {
        name: replace(policy, view=View.REGIONAL if name in names else View.GLOBAL)
        for name, policy in model.policies.items()
    }
    return replace(model, policies=policies)


@st.composite
def told_apart(draw: st.DrawFn, model: Deployment, places: Geography) -> Geography:
    """Rankings of regional policies for some continents; that of the unknown place stays."""
    rankings = {}
    for name, found in places.rankings.items():
        if model.policies[name].view is View.REGIONAL:
            own = [replace(one, continent=draw(st.sampled_from(("", *CONTINENTS)))) for one in found[1:]]
            more = [
                replace(one, continent=continent)
                for one in found
                for continent in draw(st.sets(st.sampled_from(CONTINENTS)))
            ]
            rankings[name] = tuple(dict.fromkeys((found[0], *own, *more)))
        else:
            rankings[name] = found
    return replace(places, rankings=rankings)


@st.composite
def views(draw: st.DrawFn, model: Deployment) -> Mapping[str, Verdicts]:
    """What each continent says otherwise of some targets of some pools."""
    verdict = st.builds(
        Verdict,
        health=st.sampled_from((Health.DOWN, Health.UP)),
        why=st.just("refused"),
        settles_s=st.sampled_from((None, None, 3.2)),
        double=st.booleans(),
    )
    return {
        continent: {
            name: draw(st.dictionaries(st.sampled_from(targets_of(model.pools[name])), verdict))
            for name in draw(st.sets(st.sampled_from(sorted(model.pools))))
        }
        for continent in draw(st.sets(st.sampled_from(CONTINENTS)))
    }


def alike(places: Geography) -> Geography:
    """The same rankings for clients of nowhere in particular."""
    return replace(
        places,
        rankings={name: tuple(replace(one, continent="") for one in found) for name, found in places.rankings.items()},
    )


def as_seen_from(continent: str, world: World) -> World:
    """The world as this continent alone tells it."""
    verdicts = {name: dict(found) for name, found in world.verdicts.items()}
    for name, found in world.regional.get(continent, {}).items():
        verdicts.setdefault(name, {}).update(found)
    return replace(world, verdicts=verdicts, regional={})


def as_left_to(continent: str, policy: PolicyId, history: History) -> History:
    """The history of a policy as clients of this continent have it."""
    name = PolicyId(f"{policy}/{continent}")
    if name not in history.out:
        return history
    return replace(
        history,
        out={**history.out, policy: history.out[name]},
        kept={**history.kept, policy: history.kept.get(name, {})},
    )


def of_policies(plan: Plan) -> History:
    """The plan's history with the names of policies alone."""
    history = plan.history
    sheds = {
        pool: replace(shed, out=tuple(sorted({(policy_of(name), rtype) for name, rtype in shed.out})))
        for pool, shed in history.sheds.items()
    }
    return replace(history, sheds=sheds)
