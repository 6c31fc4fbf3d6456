"""The load generator counts answers, percentiles and times from the moment a request is due."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.load import Target, closed_loop, moments, open_loop, percentiles
from bench.wire import answer_status

BODY = b'{"items": []}'
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class Small:
    """Answers each request of a connection with the next of `answers`, in turn, `seconds` after one another for all
    connections together; None = hang up. Remembers the bodies.
    """

    def __init__(self, answers: list[bytes | None], seconds: float = 0.0) -> None:
        self.answers, self.seconds = answers, seconds
        self.bodies: list[bytes] = []
        self.url = ""
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._stop = asyncio.Event()

    def run(self) -> None:
        """Serve until stopped."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def wait(self) -> None:
        self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        self._turn = asyncio.Lock()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        async with server:
            await self._stop.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while answer := await self._next(reader):
                writer.write(answer[:20])
                await writer.drain()
                writer.write(answer[20:])
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _next(self, reader: asyncio.StreamReader) -> bytes | None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        self.bodies.append(await reader.readexactly(length))
        async with self._turn:
            await asyncio.sleep(self.seconds)
        return self.answers[(len(self.bodies) - 1) % len(self.answers)]


@contextmanager
def small(*answers: bytes | None, seconds: float = 0.0) -> Iterator[Small]:
    """A small server for the length of the block, in a thread of its own."""
    server = Small(list(answers), seconds)
    thread = threading.Thread(target=server.run)
    thread.start()
    server.wait()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def target(server: Small, *bodies: bytes) -> Target:
    return Target(server.url, "/rank", bodies or (b"{}",))


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED])
def test_a_closed_loop_counts_every_answer(answer: bytes) -> None:
    with small(answer) as server:
        tally = closed_loop(target(server), 3, 0.2)
        assert tally.statuses == {200: len(server.bodies)}
    figures = tally.figures()
    assert len(tally.seconds) == tally.statuses[200] > 10
    assert figures["per_s"] == pytest.approx(tally.statuses[200] / figures["seconds"])
    assert 0 < figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"]
    assert figures["unanswered"] == 0
    assert 0 < figures["load_cpu_share"] <= 2


def test_bodies_are_sent_in_turn() -> None:
    with small(PLAIN) as server:
        closed_loop(target(server, b"one", b"second"), 1, 0.05)
        assert server.bodies[:4] == [b"one", b"second"] * 2


def test_a_closed_loop_waits_for_each_answer() -> None:
    with small(PLAIN, seconds=0.02) as server:
        figures = closed_loop(target(server), 2, 0.4).figures()
    assert figures["p50_ms"] >= 38  # two callers, one answer each 20 ms
    assert figures["per_s"] <= 50


def test_refusals_are_counted_and_left_out_of_the_times() -> None:
    with small(PLAIN, REFUSED) as server:
        tally = closed_loop(target(server), 1, 0.1)
    assert abs(tally.statuses[200] - tally.statuses[503]) <= 1
    assert len(tally.seconds) == tally.statuses[200]


def test_a_lost_connection_is_counted_and_does_not_hang() -> None:
    with small(PLAIN, None) as server:
        started = time.perf_counter()
        tally = closed_loop(target(server), 1, 0.5)
        assert time.perf_counter() - started < 2
        assert tally.statuses == {200: 1, 0: 1}
        assert open_loop(target(server), 100, 0.1).unanswered == 0


def test_an_open_loop_counts_from_the_moment_a_request_was_due() -> None:
    """A server of one answer each 20 ms, asked 100 times a second: the queue, not the server, is the time."""
    with small(PLAIN, seconds=0.02) as server:
        tally = open_loop(target(server), 100, 0.4, seed=1, connections=2)
    due = len(list(moments(100, 0.4, 1)))
    assert tally.statuses == {200: due}
    figures = tally.figures()
    assert figures["p99_ms"] > 150  # with two connections no answer took more than 40 ms from when it was sent
    assert figures["per_s"] <= 50


def test_a_request_without_an_answer_counts_with_the_time_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.PATIENCE_S", 0.1)
    with small(PLAIN, seconds=0.5) as server:
        tally = open_loop(target(server), 40, 0.2, connections=2)
        assert tally.unanswered == len(tally.seconds) > 0
        assert max(tally.seconds) >= 0.2
        assert closed_loop(target(server), 1, 0.1).unanswered == 1


def test_arrival_times_have_the_same_pattern_at_every_rate() -> None:
    slow, fast = list(moments(100, 10, 7)), list(moments(200, 5, 7))
    assert slow == pytest.approx([2 * moment for moment in fast])
    assert len(slow) == pytest.approx(1000, rel=0.1)
    assert slow == sorted(slow)
    assert list(moments(100, 10, 8)) != slow


def test_percentiles_are_in_milliseconds() -> None:
    figures = percentiles([0.001, 0.002, 0.003, 0.004, 0.100])
    assert figures["p50_ms"] == pytest.approx(3)
    assert figures["mean_ms"] == pytest.approx(22)
    assert percentiles([]) == {"p50_ms": None, "p90_ms": None, "p99_ms": None, "mean_ms": None}


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, REFUSED])
def test_a_partial_answer_is_not_an_answer(answer: bytes) -> None:
    assert [end for end in range(len(answer)) if answer_status(bytearray(answer[:end]))] == []
    assert answer_status(bytearray(answer)) in (200, 503)
