"""What operators said of each target, with the order in which they said it, and the merge of what several nodes know.  Pure.

Rule 1: of two words on one target the one with the later stamp counts, at every node alike.
Rule 2: an end is a word too: it is kept for KEEP_S, so that a node that was away does not bring back what was ended.
Rule 3: the merge is commutative, associative and idempotent; only `tidied` looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gslb.bus.stamps import Written, new
from gslb.model.world import Override

KEEP_S = 30 * 86_400.0  # an end is known for so long: as long as a node may be away with old overrides
MAX_OVERRIDES = 10_000
MAX_WORDS = 2 * MAX_OVERRIDES  # with ends
GSLB = "gslb"  # who ends what no operator ended
OVER = "its time is over"


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no override any more: ended by `who` at `at` (seconds since the epoch)."""

    who: str
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Word:
    """The word on `target`.  `after`: the stamp of the word that its writer replaced; None where it knew of none."""

    target: str
    said: Override | Ended
    stamp: Written
    after: Written | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A word that lost against one whose writer did not know it."""

    loser: Word
    winner: Word


@dataclass(frozen=True, slots=True)
class Merged:
    """The words by target, and which were lost."""

    words: Mapping[str, Word]
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """Who edits, when (seconds since the epoch), on which node; `who` and `why` are those of what ends by it."""

    now: float
    node: str
    who: str = GSLB
    why: str = ""


def merged(mine: Mapping[str, Word], theirs: Iterable[Word]) -> Merged:
    """The later word of each target; the newest MAX_WORDS of them."""
    words, lost = dict(mine), []
    for one in theirs:
        known = words.get(one.target)
        if known is None:
            words[one.target] = one
            continue
        loser, winner = sorted((known, one), key=_rank)
        words[one.target] = winner
        if loser.stamp != winner.stamp and (winner.after is None or winner.after < loser.stamp):
            lost.append(Lost(loser, winner))
    return Merged(_bounded(words), tuple(lost))


def tidied(words: Mapping[str, Word], now: float) -> dict[str, Word]:
    """The words without those that nobody needs at `now`: what expired is an end, and an old end is forgotten."""
    found = {}
    for target, word in words.items():
        said = word.said
        if isinstance(said, Override) and said.until is not None and not said.holds_at(now):
            said = Ended(GSLB, OVER, said.until)
        if isinstance(said, Override) or max(said.at, word.stamp.ms / 1000) + KEEP_S > now:
            found[target] = word if said is word.said else replace(word, said=said)
    return found


def edited(words: Mapping[str, Word], after: Iterable[Override], edit: Edit) -> dict[str, Word]:
    """The words once the overrides are `after`: what is new in them and what is gone from them is said now."""
    found = tidied(words, edit.now)
    stamp = new(edit.now, (one.stamp for one in words.values()), edit.node)
    wanted = {one.target: one for one in after}
    for target, override in wanted.items():
        known = found.get(target)
        if known is None or known.said != override:
            found[target] = Word(target, override, stamp, known.stamp if known is not None else None)
    for target, word in list(found.items()):
        if target not in wanted and isinstance(word.said, Override):
            found[target] = Word(target, Ended(edit.who, edit.why, edit.now), stamp, word.stamp)
    return found


def overrides_of(words: Iterable[Word]) -> tuple[Override, ...]:
    """The overrides among the words, each with the node that it was made on."""
    return tuple(replace(one.said, node=one.stamp.node) for one in words if isinstance(one.said, Override))


def unstamped(overrides: Iterable[Override]) -> tuple[Word, ...]:
    """Words for overrides of which no order is known: as if each had been written when it began, by no node."""
    return tuple(Word(one.target, one, Written(max(0, int(one.since * 1000)), "")) for one in overrides)


def _rank(word: Word) -> tuple[Written, int, str]:
    """Later is higher.  One stamp has one word, but for what expired at one node already: that is an end."""
    said = word.said
    if isinstance(said, Ended):
        return word.stamp, 1, f"{said.at!r} {said.who} {said.why} {word.after}"
    return word.stamp, 0, f"{said!r} {word.after}"


def _bounded(words: dict[str, Word]) -> dict[str, Word]:
    """The newest words.  Those that are left out are older than all that stay, so that none comes back for another."""
    live = [one for one in words.values() if isinstance(one.said, Override)]
    if len(words) <= MAX_WORDS and len(live) <= MAX_OVERRIDES:
        return words
    kept = sorted(words.values(), key=_rank)[-MAX_WORDS:]
    oldest = sorted((one for one in kept if isinstance(one.said, Override)), key=_rank)[:-MAX_OVERRIDES]
    gone = {one.target for one in oldest}
    return {one.target: one for one in kept if one.target not in gone}
