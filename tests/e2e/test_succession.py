"""What a new `gslb run` does with the workers and the generation that an earlier one left."""

from __future__ import annotations

import os
import signal
import socket

import dns.message
import dns.query
import pytest

from gslb.control.lock import CONTROLLER, holder
from tests.e2e.conftest import MakeServer
from tests.e2e.lifecycle import CONFIG, ZONE, Client, wait_until

PREFERS_IAD = CONFIG.replace("pools: [web-fra, web-iad]", "pools: [web-iad, web-fra]")


class TestSuccession:
    """The supervisor is killed; the workers serve on; the next run takes over.  No query is lost."""

    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_no_query_is_lost(self, server: MakeServer, workers: int) -> None:
        """Also where the next run has fewer or more workers than the one before."""
        one = server()
        orphans = one.workers() | one.workers("tcp")
        client = Client(one)
        with client.asking():
            one.runs[0].kill()
            one.runs[0].wait()
            wait_until(lambda: len(one.left()) == 3, "the controller ends with its supervisor")
            asked = client.asked
            wait_until(lambda: client.asked > asked + 50, "the orphans serve on")
            one.configure(CONFIG.replace("workers: 2", f"workers: {workers}"))
            one.start()
            wait_until(lambda: not orphans & set(one.left()), "the orphans' end")
            asked = client.asked
            wait_until(lambda: client.asked > asked + 50, "answers of the new workers")
        assert client.lost == 0
        assert len(one.workers()) == workers
        assert one.stop() == 0
        assert one.left() == []

    def test_an_open_connection_is_answered_by_the_worker_that_has_it(self, server: MakeServer) -> None:
        one = server()
        with socket.create_connection((one.address, one.port), timeout=5) as connection:
            query = dns.message.make_query("www.example.com", "A")
            dns.query.send_tcp(connection, query)
            assert dns.query.receive_tcp(connection)[0].answer
            one.runs[0].kill()
            one.runs[0].wait()
            one.start()
            dns.query.send_tcp(connection, query)
            assert dns.query.receive_tcp(connection)[0].answer

    def test_orphans_follow_a_configuration_that_changed_meanwhile(self, server: MakeServer) -> None:
        one = server()
        one.runs[0].kill()
        one.runs[0].wait()
        one.configure(PREFERS_IAD)
        assert one.addresses() == ["192.0.2.10"], "the last plan is served"
        one.start()
        wait_until(lambda: one.addresses() == ["198.51.100.10"], "the new plan")

    def test_a_start_that_is_refused_leaves_the_orphans_alone(self, server: MakeServer) -> None:
        one = server()
        one.runs[0].kill()
        one.runs[0].wait()
        wait_until(lambda: len(one.left()) == 3, "the controller's end")
        one.spoil()
        assert one.refused()[0] == 1
        assert one.answers()
        one.configure(CONFIG.replace('"ADDRESS:PORT"', '"ADDRESS:PORT", "192.0.2.99:5353"'))
        assert one.refused()[0] == 1
        assert one.answers()
        one.configure(CONFIG)
        orphans = set(one.left())
        one.start()
        wait_until(lambda: not orphans & set(one.left()), "the orphans' end")
        assert one.stop() == 0
        assert one.left() == []

    def test_a_file_that_a_power_cut_left_empty_is_written_again(self, server: MakeServer) -> None:
        one = server()
        assert one.stop() == 0
        for file in (one.state / "example" / "fra" / "serving").glob("names-*"):
            file.write_bytes(b"")
        one.start()
        assert one.answers()

    def test_an_orphan_that_hangs_is_killed(self, server: MakeServer) -> None:
        one = server()
        one.runs[0].kill()
        one.runs[0].wait()
        wait_until(lambda: len(one.left()) == 3, "the controller's end")
        hung, *_ = one.workers()
        os.kill(hung, signal.SIGSTOP)
        one.start()
        wait_until(lambda: hung not in one.left(), "its end")  # the other orphan answers meanwhile
        wait_until(lambda: len(one.workers()) == 2, "the new workers")
        assert all(one.answers() for _ in range(40)), "no socket is left that nobody reads"

    @pytest.mark.parametrize("orphaned", [True, False])
    def test_a_restart_beside_a_bad_zone_serves_the_last_good(self, server: MakeServer, *, orphaned: bool) -> None:
        one = server()
        zone = one.folder / "zones" / "example.com.yaml"
        if orphaned:
            one.runs[0].kill()
            one.runs[0].wait()
            wait_until(lambda: len(one.left()) == 3, "the controller's end")
        else:
            assert one.stop() == 0
        zone.write_text("www: {type: A")
        run = one.start()
        wait_until(lambda: "error gslb.node" in one.said() and "not YAML" in one.said(), "the refusal")
        assert run.poll() is None
        assert one.answers()
        zone.write_text(ZONE.replace("www: {policy: web", "new: {type: A, value: 192.0.2.7}\nwww: {policy: web"))
        wait_until(lambda: one.addresses("new.example.com") == ["192.0.2.7"], "the mended zone")
        assert one.answers()

    def test_the_last_good_generation_is_served_before_the_zones_are_read(self, server: MakeServer) -> None:
        many = "".join(f"host{number}: {{type: A, value: 192.0.2.1}}\n" for number in range(40_000))
        one = server(zones={"example.com.yaml": ZONE + many})
        assert one.stop() == 0
        one.start()
        assert holder(one.state / "example" / "fra", CONTROLLER) is None, "the controller is still reading"
        wait_until(lambda: one.said().count("listening on") == 2, "the controller's first decision")
