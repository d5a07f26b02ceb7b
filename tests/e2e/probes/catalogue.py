"""All probes, and what of the list of checks is not probed yet."""

from __future__ import annotations

from tests.e2e.probes import aliases, cookies, dynamic, edns, messages, records, rfc8906, streams, subnets, wildcards

ITEMS = range(1, 79)  # the numbers of the list
ALL = [
    probe
    for module in (rfc8906, messages, edns, cookies, subnets, dynamic, streams, records, aliases, wildcards)
    for probe in module.probe.all
]
NOT_YET = {
    78: "zones are not signed",
}
PARTLY = {
    36: "a key that the server knows needs TSIG, which zone transfers bring; unknown keys are probed",
    66: "transfers are refused; the form of a whole transfer is probed when there is one",
}
