"""The hook of the build: the XDP programs are compiled before packages are collected, so that a wheel holds them.

Without clang the wheel is made all the same; a node then runs without XDP and says which line mends it.
Everything else about the package is in pyproject.toml.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))

from xdp import build


class WithObjects(build_py):
    """Collects the packages once their programs are compiled."""

    def run(self) -> None:
        """Compile what is out of date, then collect."""
        try:
            build.build()
        except build.NotBuilt as error:
            sys.stderr.write(f"gslb: going on without XDP: {error}\n")
        super().run()


class Tagged(bdist_wheel):
    """Any Python 3, but only this kind of machine: the objects have its byte order, libgslb.so its instructions."""

    def get_tag(self) -> tuple[str, str, str]:
        """The wheel's tag."""
        return "py3", "none", super().get_tag()[2]


class ForThisMachine(Distribution):
    """What is not the same on every machine."""

    def has_ext_modules(self) -> bool:
        """Yes, though not of Python's own kind."""
        return True


setup(distclass=ForThisMachine, cmdclass={"build_py": WithObjects, "bdist_wheel": Tagged})
