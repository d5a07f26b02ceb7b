"""What the sites of a deployment say together of one target: opinions -> a verdict.  Pure.

Rule 1: one site, one voice: the majority of its nodes' opinions that count; a tie is up.
Rule 2: a target is up if at least the monitor's `quorum` of the sites with a voice say so.
Rule 3: an opinion that is no longer fresh counts on until a site has changed its mind against it since: so what is only lost
(a node, a site, the bus) changes no verdict, and the first contrary evidence need not outvote the dead.
Rule 4: a blind site has no voice; where nobody has one, what was known stays.
Rule 5: what a single node says and nobody else has a voice in is the verdict as that node gives it.
The order of opinions does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gslb.model.world import Health, Verdict

NAMED = 6  # sites of each side that a reason names
WHY_CHARACTERS = 80  # of each site's reason
_NEARLY = 1e-9  # shares are compared with that in hand: 2 of 3 are 66.7 %


@dataclass(frozen=True, slots=True)
class Heard:
    """What one node's checks say of a target.

    `verdict` is its own, `age_s` of it since its last check; it has said so for `for_s` seconds up to now, which is no less, and
    is fresh up to an age of `ttl_s`.
    """

    site: str
    node: str
    verdict: Verdict
    for_s: float
    ttl_s: float
    blind: bool = False

    @property
    def fresh(self) -> bool:
        """Whether it is young enough to count whatever others say."""
        return self.verdict.age_s <= self.ttl_s


@dataclass(frozen=True, slots=True)
class Voice:
    """What a site says: `verdict` with the age of its latest check; `heard` are the opinions that it is made of."""

    site: str
    verdict: Verdict
    fresh: bool
    heard: tuple[Heard, ...]


def judged(heard: Iterable[Heard], quorum: float, before: Verdict | None = None) -> Verdict | None:
    """The verdict of a target; `before` is the one so far, aged: None while nobody ever said anything."""
    found = voices(heard)
    if not found:
        return before
    if len(found) == 1 and len(found[0].heard) == 1:
        return found[0].heard[0].verdict
    ups = [one for one in found if one.verdict.health is Health.UP]
    downs = [one for one in found if one.verdict.health is Health.DOWN]
    up = _enough(len(ups), len(found), quorum)
    agreed = ups if up else downs
    return Verdict(
        health=Health.UP if up else Health.DOWN,
        age_s=min(one.verdict.age_s for one in agreed or found),
        why=_words(ups, downs, up=up),
        settles_s=_settles_s(found, len(ups), quorum, up=up),
        double=not up and (len(downs) > 1 or any(one.verdict.double for one in downs)),
        outlier=_outlier(found) if up else "",
    )


def voices(heard: Iterable[Heard]) -> tuple[Voice, ...]:
    """The sites that have a voice, by name."""
    known = sorted((one for one in heard if not one.blind), key=lambda one: (one.site, one.node))
    counting = [one for one in known if one.fresh or not _contradicted(one, known)]
    by_site: dict[str, list[Heard]] = {}
    for one in counting:
        by_site.setdefault(one.site, []).append(one)
    return tuple(_voice(site, of_site) for site, of_site in by_site.items())


def _contradicted(old: Heard, known: Sequence[Heard]) -> bool:
    """Whether a node changed its mind against an opinion after that was last heard."""
    return any(one.verdict.health is not old.verdict.health and one.for_s < old.verdict.age_s for one in known)


def _voice(site: str, heard: Sequence[Heard]) -> Voice:
    downs = [one.verdict for one in heard if one.verdict.health is Health.DOWN]
    ups = [one.verdict for one in heard if one.verdict.health is Health.UP]
    agreed, others = (downs, ups) if len(downs) > len(ups) else (ups, downs)
    outliers = [one.outlier for one in agreed if one.outlier]
    verdict = Verdict(
        health=agreed[0].health,
        age_s=min(one.age_s for one in agreed),
        why=next((one.why for one in agreed if one.why), ""),
        settles_s=_site_settles_s(agreed, len(others)),
        double=any(one.double for one in agreed),
        outlier=outliers[0] if outliers and len(outliers) * 2 >= len(heard) else "",
    )
    return Voice(site, verdict, any(one.fresh for one in heard), tuple(heard))


def _site_settles_s(agreed: Sequence[Verdict], others: int) -> float | None:
    """When a site's voice could change: once enough of its nodes may have changed their mind."""
    settling = sorted(one.settles_s for one in agreed if one.settles_s is not None)
    if not settling:
        return None
    apart = len(agreed) - others
    needed = (apart + 1) // 2 if agreed[0].health is Health.DOWN else apart // 2 + 1
    return settling[min(max(needed, 1), len(settling)) - 1]


def _enough(ups: int, of: int, quorum: float) -> bool:
    return ups >= quorum * of - _NEARLY


def _settles_s(found: Sequence[Voice], ups: int, quorum: float, *, up: bool) -> float | None:
    """How long until the quorum could change, by the checks that remain; None where no site is about to change.

    Where more sites would have to change than are about to, it is when the last of these could.
    """
    side = Health.UP if up else Health.DOWN
    settling = sorted(
        one.verdict.settles_s for one in found if one.verdict.health is side and one.verdict.settles_s is not None
    )
    if not settling:
        return None
    step = -1 if up else 1
    needed = next(
        (n for n in range(1, len(found) + 1) if _enough(ups + step * n, len(found), quorum) is not up), len(found)
    )
    return settling[min(needed, len(settling)) - 1]


def _outlier(found: Sequence[Voice]) -> str:
    """How the target stands out, where more than half of the sites that find it up say so."""
    said = [one.verdict.outlier for one in found if one.verdict.outlier]
    return said[0] if len(said) * 2 > len(found) else ""


def _words(ups: Sequence[Voice], downs: Sequence[Voice], *, up: bool) -> str:
    """Who says what; empty where nothing speaks against the target."""
    if not downs:
        return _named([one for one in ups if one.verdict.why])
    if len(downs) == 1 and not ups:
        return downs[0].verdict.why
    agreed, others = (ups, downs) if up else (downs, ups)
    said = f"{len(agreed)} of {len(ups) + len(downs)} sites: {_named(agreed)}"
    return f"{said}; {'down' if up else 'up'}: {_named(others)}" if others else said


def _named(found: Sequence[Voice]) -> str:
    named = [f"{one.site}{_why(one)}" for one in found[:NAMED]]
    if len(found) > NAMED:
        named.append(f"and {len(found) - NAMED} more")
    return ", ".join(named)


def _why(one: Voice) -> str:
    """The reason of a voice, as it stands behind the name of its site."""
    said = [one.verdict.why[:WHY_CHARACTERS]] if one.verdict.why else []
    if not one.fresh:
        said.append(f"{one.verdict.age_s:.0f} s ago")
    return f" ({', '.join(said)})" if said else ""
