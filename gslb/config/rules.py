"""The refusals: what each value may be on its own, and together they may not.  Pure.

Rule 1: one function per refusal, all of them in RULES; a rule yields findings and changes nothing.
Rule 2: a rule meets damaged drafts: an entity that could not be read is absent, and its name is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gslb.config import (
    rules_anycast,
    rules_balance,
    rules_monitors,
    rules_names,
    rules_policies,
    rules_pools,
    rules_services,
    rules_zones,
)
from gslb.config.draft import Draft, Finding

Rule = Callable[[Draft], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    *rules_names.RULES,
    *rules_monitors.RULES,
    *rules_pools.RULES,
    *rules_balance.RULES,
    *rules_policies.RULES,
    *rules_anycast.RULES,
    *rules_services.RULES,
    *rules_zones.RULES,
)


def judge(draft: Draft) -> None:
    """Report all that the rules find."""
    for rule in RULES:
        draft.judge(rule(draft))
