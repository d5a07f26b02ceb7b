"""What is odd about limits.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gslb.config.draft import Draft, Finding


def everybody_exempt(draft: Draft) -> Iterator[Finding]:
    """Without a limit a nameserver sends its answers to whomever an attacker names."""
    for number, network in enumerate(draft.deployment.limits.exempt):
        if network.prefixlen == 0:
            message = f"exempts all of IPv{network.version} from the limit: this server is then a reflector for attacks on others"
            yield draft.warning(("limits", "exempt", number), message)


RULES = (everybody_exempt,)
