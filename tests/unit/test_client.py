"""The library for applications, against a service that is played by hand."""

import contextlib
import socket as net
import threading

import pytest
from gated import PATIENCE_MS, stage

from controller.client import Client
from controller.client_network import Operator
from controller.security import Client as Owner
from controller.security import Keyring, new_keys
from quantum.alterations import NETWORK, Altered, Line, Part, Place, Surveyed
from quantum.errors import Code, DeviceTimeout, InputError, RequestError
from quantum.requests import (
    Again,
    Ask,
    Closed,
    Denied,
    Granted,
    Open,
    Opened,
    Pair,
    decode_ask,
    encode_request,
)

ADA = new_keys()
SESSION = b"s" * 12


def opened(epoch=1, session=SESSION):
    return Opened(1, session, 0.0, epoch, "line", 8, 4, 600.0, 5.0)


def granted(ask):
    return Granted(ask.rid, (Pair(ask.source, ask.destination, 1, 0.9, 0),), ())


@contextlib.contextmanager
def service(*script):
    """A service that answers the n-th message by ``script[n](message)``; None says nothing.

    Yields a function that makes a client, and the list of messages that came.
    """
    heard = []
    with stage(Keyring([Owner("ada", "request", ADA.public)])) as there:

        def serve():
            for answer in script:
                while True:
                    if not there.router.poll(PATIENCE_MS):
                        return
                    identity, frame = there.heard()
                    message = decode_ask(frame.bytes)
                    if not (isinstance(message, Open) and heard and heard[-1] == message):
                        break  # an Open that was sent twice counts once
                heard.append(message)
                said = answer(message)
                if said is not None:
                    there.router.send_multipart([identity, encode_request(said)])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield lambda kind=Client, **g: kind(there.address, there.server.public, ADA, **g), heard
        finally:
            thread.join()


def test_an_answer_that_was_lost_is_asked_for_again_by_the_same_name():
    script = (lambda _: opened(), lambda _: None, granted)
    with service(*script) as (come, heard), come(hello_s=60.0) as client:
        assert client.request("a", "b", deadline_s=60.0).pairs[0].sequence == 1
    _, first, second = heard
    assert isinstance(first, Ask) and first == second


@contextlib.contextmanager
def passed_on(address):
    """A port that passes callers on to ``address``, but for the second: he hears his own words.

    Yields its address, the open connections, and how many callers there were.
    """
    host, port = address.removeprefix("tcp://").split(":")
    callers, ends, threads = [], [], []

    def carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(4096):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(net.SHUT_RDWR)

    def start(one, other):
        threads.append(threading.Thread(target=carry, args=(one, other)))
        threads[-1].start()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                callers.append(caller)
                ends.append(caller)
                if len(callers) == 2:
                    start(caller, caller)
                    continue
                ends.append(net.create_connection((host, int(port))))
                start(caller, ends[-1])
                start(ends[-1], caller)

    with net.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", callers
        finally:
            listener.shutdown(net.SHUT_RDWR)
            accepting.join()
            for end in ends:
                with contextlib.suppress(OSError):
                    end.shutdown(net.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for end in ends:
                end.close()


def test_who_once_hears_nonsense_in_a_handshake_comes_again(monkeypatch):
    """Libzmq would not: for a moment another program has the service's port."""
    monkeypatch.setattr("controller.client._LONGEST_RETRY_S", 0.1)
    with stage(Keyring([Owner("ada", "request", ADA.public)])) as there:
        over = threading.Event()

        def serve():
            while not over.is_set():
                if there.router.poll(50):
                    identity, frame = there.heard()
                    message = decode_ask(frame.bytes)
                    if isinstance(message, Open | Ask):
                        said = opened() if isinstance(message, Open) else granted(message)
                        there.router.send_multipart([identity, encode_request(said)])

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            with passed_on(there.address) as (address, callers):
                with Client(address, there.server.public, ADA, hello_s=60.0) as client:
                    callers[0].shutdown(net.SHUT_RDWR)
                    assert client.request("a", "b", deadline_s=60.0).pairs[0].sequence == 1
                assert len(callers) >= 3
        finally:
            over.set()
            serving.join()


def test_a_service_that_is_busy_is_asked_again_and_a_denial_is_told(monkeypatch):
    def busy(ask):
        return Denied(ask.rid, Code.BUSY, "later", retry_s=0.01)

    def denied(ask):
        return Denied(ask.rid, Code.NORES, "no chain")

    monkeypatch.setattr("controller.client._RETRY_S", 60.0)
    script = (lambda _: opened(), busy, busy, denied)
    with (
        service(*script) as (come, heard),
        come(hello_s=60.0) as client,
        pytest.raises(RequestError, match="no chain") as wrong,
    ):
        client.request("a", "b", deadline_s=60.0)
    assert wrong.value.code is Code.NORES
    assert heard[1] == heard[2] == heard[3]


def test_a_service_that_was_started_anew_is_asked_in_a_new_session(monkeypatch):
    monkeypatch.setattr("controller.client._RETRY_S", 60.0)
    script = (
        lambda _: opened(),
        lambda _: Again(),
        lambda _: opened(2, b"t" * 12),
        granted,
    )
    with service(*script) as (come, heard), come(hello_s=60.0) as client:
        client.request("a", "b", deadline_s=60.0)
        assert client.terms.epoch == 2
    assert [type(m) for m in heard] == [Open, Ask, Open, Ask]
    assert heard[1].rid == heard[3].rid and heard[3].session == b"t" * 12


def test_who_is_refused_learns_why():
    script = (lambda _: Closed(Code.UNSUPP, "version 1 is not spoken here; this is version 2"),)
    with service(*script) as (come, _), pytest.raises(RequestError, match="version 1 is not") as no:
        come(hello_s=60.0)
    assert no.value.code is Code.UNSUPP


def test_a_service_that_let_us_in_and_is_busy_is_given_more_time(monkeypatch):
    monkeypatch.setattr("controller.client._BUSY", 1.5)
    # A machine so busy that a handshake takes longer is asked more patiently.
    for hello_s in (0.4, 4.0, 40.0):
        with service(lambda _: None) as (come, _), pytest.raises(DeviceTimeout) as wrong:
            come(hello_s=hello_s)
        if f"within {1.5 * hello_s:g} s" in str(wrong.value):
            return
    raise AssertionError(wrong.value)


def changing(_):
    return Opened(1, SESSION, 0.0, 1, "line", 8, 4, 600.0, 5.0, ("retry", NETWORK))


STEPS = (Part("c"),)


def test_a_change_whose_answer_was_lost_is_asked_for_again_by_the_same_name():
    later = lambda alter: Denied(alter.rid, Code.BUSY, "wait", retry_s=0.01)  # noqa: E731
    done = lambda alter: Altered(alter.rid, 3, 2, 1, 0, 0)  # noqa: E731
    script = (changing, lambda _: None, later, lambda _: Again(), changing, done)
    with service(*script) as (come, heard), come(Operator, hello_s=60.0) as operator:
        assert operator.change(STEPS, wait_s=60.0).change == 3
    names = {message.rid for message in heard if not isinstance(message, Open)}
    assert len(names) == 1 and len(heard) == 6 and NETWORK in heard[0].features


def test_what_stands_is_of_one_moment():
    def page(change, first, total=3):
        nodes = (Place(f"n{first}", 1.0, 1.0, 4, 0.0, 0.0, 0),) if first < 2 else ()
        links = (Line("n0", "n1", 1.0, (1.0, 0.0, 0.0, 0.0), True, 0),) if first == 2 else ()
        return lambda asked: Surveyed(asked.rid, change, True, first, total, nodes, links)

    pages = page(1, 0), page(2, 1), page(2, 0), page(2, 1), page(2, 2)
    with service(changing, *pages) as (come, heard), come(Operator, hello_s=60.0) as operator:
        stands = operator.stands(wait_s=60.0)
    assert [message.first for message in heard[1:]] == [0, 1, 0, 1, 2]
    assert (stands.change, [n.name for n in stands.nodes], len(stands.links)) == (
        2,
        ["n0", "n1"],
        1,
    )


def test_an_operator_is_told_where_networks_do_not_change():
    with service(lambda _: opened()) as (come, heard), come(Operator, hello_s=60.0) as operator:
        for ask in (operator.stands, lambda: operator.change(STEPS)):
            with pytest.raises(RequestError, match="does not change it while it runs") as wrong:
                ask()
            assert wrong.value.code is Code.UNSUPP
    assert len(heard) == 1


def test_a_change_that_no_frame_holds_is_not_sent():
    with service(changing) as (come, heard), come(Operator, hello_s=60.0) as operator:
        with pytest.raises(InputError, match="4096 are allowed"):
            operator.change(tuple(Part("n" * 64) for _ in range(64)))
        with pytest.raises(InputError, match="text in UTF-8"):
            operator.change((Part("\udcff"),))
        with pytest.raises(RequestError, match="no answer from"):
            operator.change(STEPS, wait_s=0.05)
    assert len(heard) == 1
