"""Both sides against the golden transcript: the stub answers it, the driver says it."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import NamedTuple

import pytest
import zmq

from backends.drivers.id900 import ID900
from firmware_stubs import id900 as firmware
from firmware_stubs.bench import Bench, Optics


class Line(NamedTuple):
    source: str
    request: str
    answer: str
    digits_free: bool


def transcript(section: str) -> list[Line]:
    text = files("firmware_stubs").joinpath("transcripts/id900.txt").read_text(encoding="utf-8")
    lines: list[Line] = []
    inside, source, request = "", "", None
    for row in text.splitlines():
        if row.startswith("== "):
            inside, source = row[3:], ""
        elif row.startswith("# source: "):
            source = row.removeprefix("# source: ")
        elif row.startswith("> "):
            assert request is None, f"two requests in a row: {row}"
            request = row[2:]
        elif row.startswith("<"):
            assert request is not None, f"an answer without request: {row}"
            free = row.startswith("<#")
            if inside == section:
                lines.append(
                    Line(source, request, row[2:].strip() if free else row[1:].strip(), free)
                )
            request = None
    return lines


def digits_out(text: str) -> str:
    return re.sub("[0-9]+", "0", text)


@pytest.mark.parametrize("section", ["grammar", "driver"])
def test_every_line_has_a_source(section: str) -> None:
    lines = transcript(section)
    assert len(lines) > 20
    assert all(line.source for line in lines)


@pytest.mark.parametrize("section", ["grammar", "driver"])
def test_the_stub_answers_the_transcript(section: str) -> None:
    stub = firmware.ID900(Bench(Optics(), seed=1))
    for number, line in enumerate(transcript(section)):
        answer = stub.answer(line.request, 0.01 * number)
        if line.digits_free:
            assert digits_out(answer) == digits_out(line.answer), line.request
        else:
            assert answer == line.answer, line.request


@contextmanager
def reading_from(lines: list[Line]) -> Iterator[tuple[str, list[str]]]:
    """Serve the transcript's answers in order on a real REP socket; collect what is asked."""
    asked: list[str] = []
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    stop = threading.Event()

    def serve() -> None:
        # A REP socket belongs to one thread; after the bind it is this one.
        while not stop.is_set():
            if socket.poll(20):
                asked.append(socket.recv_string())
                place = len(asked) - 1
                socket.send_string(lines[place].answer if place < len(lines) else "")
        socket.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}", asked
    finally:
        stop.set()
        thread.join(timeout=10.0)
        context.term()


def test_the_driver_says_the_transcript() -> None:
    lines = transcript("driver")
    now = [0.0]
    with reading_from(lines) as (address, asked):
        driver = ID900(address, clock=lambda: now[0], sleep=lambda s: None)
        try:
            driver.identify()
            driver.configure(0.1)
            driver.set_basis("xx")
            seen = driver.coincidences(0.1)
            driver.set_basis("yy")
            driver.set_basis("zz")
            driver.safe_state()
        finally:
            driver.close()
    assert asked == [line.request for line in lines]
    # The last row of counts in the transcript is the one that may be believed.
    last = [int(n) for n in [x for x in lines if x.digits_free][-1].answer.split(";")]
    assert [*seen.singles, *seen.pairs[0], *seen.pairs[1]] == last[:8]
