"""What every test may ask for: a tool, a world of namespaces, the city databases; and how hard properties are tried.

With CI=true a missing tool is a failure, and as root so is a skipped test of the kernel or of the databases.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import databases
from tests.namespaces import World, unavailable

pytest.register_assert_rewrite("tests.e2e.probes")  # plain modules; before anything imports them

WHOLE = Path(__file__).parent / "e2e"
IN_CI = os.environ.get("CI") == "true"
SUPERUSER_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
NO_DATABASE = "no city database in ~/.cache/gslb; `make geography` fetches it"

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("soak", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))


def missing(reason: str) -> None:
    """Skip the test for `reason`; with CI=true fail it."""
    if IN_CI:
        pytest.fail(f"{reason} (with CI=true a missing tool is a failure)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """`tool("dig")` is the path of an installed program; without it the test is skipped."""

    def find(name: str) -> str:
        path = shutil.which(name, path=SUPERUSER_PATH)
        if path is None:
            missing(f"{name} is not installed; `make test` installs it")
        return str(path)

    return find


@pytest.fixture
def netns() -> Iterator[World]:
    """A world of network namespaces (`tests/namespaces.py`), removed with all its processes after the test."""
    with World() as world:
        yield world


@pytest.fixture(scope="session")
def city_databases() -> tuple[Path, ...]:
    """The full city databases, IPv4 and IPv6, in $GSLB_GEODB_DIR or ~/.cache/gslb."""
    paths = databases.city_databases()
    if not paths:
        missing(NO_DATABASE)
    return paths


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole nodes run with nothing beside them."""
    for item in items:
        if WHOLE in item.path.parents:
            item.add_marker("alone")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run: `root` needs root and namespaces, `geodb` the city databases."""
    if item.get_closest_marker("root") is not None:
        reason = _no_namespaces()
        if reason is not None and os.geteuid() == 0:
            missing(reason)
        elif reason is not None:
            pytest.skip(reason)
    if item.get_closest_marker("geodb") is not None and not databases.city_databases():
        missing(NO_DATABASE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true, root runs every test of the kernel and of the databases: one that skips itself has failed."""
    report = yield
    must_run = IN_CI and os.geteuid() == 0 and any(item.get_closest_marker(name) for name in ("root", "geodb"))
    if must_run and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but with CI=true it must run: {report.longrepr}"
    return report


@cache
def _no_namespaces() -> str | None:
    return unavailable()
