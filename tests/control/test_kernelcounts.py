"""What the driver counted is shown as by a worker: once, over changes of image and of controller."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from pathlib import Path

import pytest

from gslb.control.kernelcounts import LEGENDS_KEPT, TAKEN, KernelCounts
from gslb.dnslayout import DNS_VIEWS_AT, LAYOUT_HASH, DnsCounts, DnsImage, DnsUp
from gslb.nameserver import demand, scoreboard
from gslb.nameserver.counters import Counter
from gslb.nameserver.generation import File, Publisher
from gslb.nameserver.legend import Cells, Legend
from gslb.nameserver.scoreboard import Kind
from xdp.messages import Block

FIRST_CELL = DnsCounts.qtype.offset // 8 + 8  # type: ignore[attr-defined]  # ctypes: a member of a class
UP_VIEW = DnsCounts.up.offset // 8 + DnsUp.DNS_UP_VIEW  # type: ignore[attr-defined]  # as above
ANSWERED, FAST = int(Counter.ANSWERED), int(Counter.FAST)
MARK = FIRST_CELL + 2 + 1


class Node:
    """The folders of a node, and images of one policy of two rankings in them."""

    def __init__(self, root: Path) -> None:
        self.run, self.serving = root / "run", root / "serving"
        self.run.mkdir()
        self._publisher = Publisher(self.serving, "tests")

    def image(self, version: int, geography: str = "one") -> str:
        """A new image; its digest."""
        head = DnsImage(
            magic=0x49534E44, layout=tuple(bytes.fromhex(LAYOUT_HASH)), version=version, octets=DNS_VIEWS_AT
        )
        legend = Legend(geography, [Cells("web", 1, 0, 2)], [(0, ()), (1, ("fra",))])
        return self._publisher.store("image", bytes(head).ljust(DNS_VIEWS_AT, b"\0") + legend.to_bytes()).digest

    def labelled(self, version: int) -> str:
        """As `image`; the file is named as a generation names it."""
        digest = self.image(version)
        (self.serving / f"image-{digest}").rename(self.serving / f"image-{version}-{digest}")
        return digest

    def published(self, version: int) -> File:
        """As `labelled`; the file as a manifest names it."""
        digest = self.labelled(version)
        name = f"image-{version}-{digest}"
        return File(name, (self.serving / name).stat().st_size, digest)

    def counts(self) -> KernelCounts:
        return KernelCounts(self.run, self.serving)

    @property
    def board(self) -> scoreboard.Page:
        found = scoreboard.read(self.run / f"xdp-{os.getpid()}.board")
        assert found is not None
        return found

    @property
    def page(self) -> demand.Page:
        found = demand.read_page(self.run / f"xdp-{os.getpid()}.demand")
        assert found is not None
        return found


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def block(image: str, numbers: Mapping[int, int]) -> Block:
    return Block(image, array("I", numbers.keys()).tobytes(), array("Q", numbers.values()).tobytes())


def answered(image: str, count: int) -> Block:
    """So many answers of the first ranking."""
    return block(image, {FAST: count, ANSWERED: count, UP_VIEW: 2, FIRST_CELL: count, MARK: count})


def test_the_driver_is_shown_as_a_worker(node: Node) -> None:
    image = node.labelled(7)
    subject = node.counts()
    subject.take([answered(image, 5)], 0.0)
    subject.take([answered(image, 8)], 2.0)
    assert (node.board.kind, node.board.plan_version) == (Kind.XDP, 7)
    assert (node.board.counts[Counter.XDP], node.board.counts[ANSWERED], node.board.counts[FAST]) == (8, 8, 0)
    assert node.board.ups[DnsUp.DNS_UP_VIEW] == 2
    assert node.page.pools == {("fra", 1): 8}
    assert dict(node.page.cells) == {("web", 1): array("Q", [3, 0])}, "the first look tells of no time"
    subject.close()


def test_counts_go_on_over_images(node: Node) -> None:
    one, two, three = (node.labelled(version) for version in (1, 2, 3))
    subject = node.counts()
    subject.take([answered(one, 5)], 0.0)
    subject.take([answered(one, 6), answered(two, 1)], 2.0)
    subject.take([answered(two, 2), answered(three, 10), answered(two, 4)], 4.0)
    assert node.board.counts[ANSWERED] == 6 + 2 + 10 + 4, "an image that comes again begins at zero"
    assert node.page.pools == {("fra", 1): 22}
    assert node.board.plan_version == 2
    subject.close()


def test_the_next_controller_takes_the_rest(node: Node) -> None:
    image = node.labelled(1)
    first = node.counts()
    first.take([answered(image, 5)], 0.0)
    first.close()
    second = node.counts()
    second.take([answered(image, 9)], 0.0)
    assert node.board.counts[ANSWERED] == 4
    retired = scoreboard.read(node.run / scoreboard.RETIRED)
    assert retired is not None
    assert retired.counts[ANSWERED] == 5
    pages = demand.read(node.run)
    assert pages.retired == {("fra", 1): 5}
    assert [page.pools for page in pages.living] == [{("fra", 1): 4}]
    assert dict(node.page.cells) == {("web", 1): array("Q", [0, 0])}
    second.close()


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_a_damaged_memory_of_what_was_taken_is_none(node: Node, content: bytes) -> None:
    (node.run / TAKEN).write_bytes(content)
    image = node.labelled(1)
    subject = node.counts()
    subject.take([answered(image, 9)], 0.0)
    assert node.board.counts[ANSWERED] == 9
    subject.close()


def test_an_image_that_is_gone_is_left(node: Node) -> None:
    subject = node.counts()
    subject.take([answered("0" * 32, 5)], 0.0)
    assert list(node.run.iterdir()) == []
    image = node.labelled(1)
    subject.take([answered("0" * 32, 6), answered(image, 2)], 1.0)
    assert node.board.counts[ANSWERED] == 2
    subject.close()


def test_images_whose_files_went_before_their_counts_came(node: Node) -> None:
    subject = node.counts()
    files = [node.published(version) for version in range(1, LEGENDS_KEPT + 2)]
    for file in files:
        subject.expect(file)
        subject.expect(file)
        (node.serving / file.name).unlink()
    subject.expect(None)
    subject.expect(File("image-0", 9, "0" * 32))
    subject.take([answered(file.digest, 5) for file in files], 0.0)
    assert node.board.counts[ANSWERED] == 5 * LEGENDS_KEPT, "the oldest is forgotten"
    assert node.page.pools == {("fra", 1): 5 * LEGENDS_KEPT}
    assert node.board.plan_version == LEGENDS_KEPT + 1
    subject.close()


def test_counters_of_an_image_that_began_anew_while_nobody_looked(node: Node) -> None:
    image = node.labelled(1)
    first = node.counts()
    first.take([answered(image, 50)], 0.0)
    first.close()
    second = node.counts()
    second.take([answered(image, 3)], 0.0)
    assert node.board.counts[ANSWERED] == 3
    second.close()
