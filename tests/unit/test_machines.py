"""Workers and agents that come from elsewhere: real sockets, keys in folders, one file for all."""

import contextlib
import socket as net
import threading
import time
from dataclasses import replace
from functools import partial

import pytest
from broker_stage import SETTING, expected_digest, setup
from guests import dealer, hear
from msgspec import structs
from service_stage import desk_on

from backends.seat import Seat
from backends.worker import work
from controller.agent import act_by_brief
from controller.broker import Broker
from controller.client import Client
from controller.dispatch import Dispatch
from controller.live import _briefs
from controller.machines import agent_of, worker_of
from controller.meeting import read_run
from controller.security import KeyFolder, new_keys
from controller.security.checks import checks
from controller.security.keys import load_pair, new_key, revoke_key
from controller.service.config import load_config
from controller.service.journal import Journal
from controller.service.loop import Loop
from controller.service.terms import Terms, WorkTerms
from controller.site import part_of
from quantum.commands.findings import endpoints_of
from quantum.egp import PROBE, VERSION, Done, Hello, Job, Refuse, Welcome
from quantum.errors import Code, InputError
from quantum.joining import WorkerConfig
from quantum.wire import encode

LONG_MS = 20_000
PARTS = (("service", "broker"), ("local", "request"), ("w", "worker"))


@contextlib.contextmanager
def serving(folder, work=None):
    """A service with workers on real sockets, in a thread; its keys are in ``folder``."""
    for name, role in PARTS:
        new_key(folder / "keys", name, role)
    journal, over = Journal(folder / "journal.db"), threading.Event()
    admitted = KeyFolder(folder / "keys")
    terms = Terms(load_hz=20.0, grace_s=600.0, most_s=600.0)
    desk = desk_on(
        journal,
        terms,
        now_s=time.monotonic(),
        ring=admitted.ring,
        work=work or WorkTerms(patience_s=500.0),
    )
    pair = load_pair(folder / "keys" / "service.key")
    free = "tcp://127.0.0.1:0"
    loop = Loop(desk, free, pair, admitted, workers_at=free, backend="analytic")
    (folder / "site.toml").write_text(
        f'[serve]\naddress = "{loop.address}"\nkeys = "keys"\nbackend = "analytic"\n'
        f'[serve.workers]\naddress = "{loop.workers.address}"\n'
    )
    loop.desk.file = str(folder / "site.toml")
    thread = threading.Thread(target=loop.run, args=(over.is_set,), kwargs={"drain_s": 0.0})
    thread.start()
    try:
        yield loop
    finally:
        over.set()
        thread.join(60.0)
        loop.close()
        journal.close()
        assert not thread.is_alive()


def until(true):
    deadline_s = time.monotonic() + 60.0
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def client(folder, loop):
    keys = folder / "keys"
    server = load_pair(keys / "service.key").public
    return Client(loop.address, server, load_pair(keys / "local.key"), hello_s=60.0)


@contextlib.contextmanager
def by_hand(folder, loop, boot="boot:1", backend="analytic"):
    """A worker that does what the test says; yields its socket after the answer to its hello."""
    keys = folder / "keys"
    pairs = [load_pair(keys / f"{name}.key") for name in ("service", "w")]
    with dealer(loop.workers.address, *pairs) as socket:
        told = ("resume", boot, f"backend:{backend}")
        socket.send(encode(Hello(VERSION, "worker", "w", features=told)))
        yield socket, hear(socket, LONG_MS)


def job_of(socket):
    """Return the next job in which a pair is kept; tests are left undone."""
    while True:
        job = hear(socket, LONG_MS)
        assert isinstance(job, Job)
        if any(task.basis < 0 for task in job.tasks):
            return job
        socket.send(encode(done(job)))


def done(job):
    return Done(job.job, tuple(-1 if task.basis < 0 else 1 for task in job.tasks))


def test_a_worker_from_the_file_executes_until_its_key_is_revoked(tmp_path):
    with serving(tmp_path) as loop, client(tmp_path, loop) as asking:
        config = worker_of(loop.desk.file, of=None, key=None, wait_s=60.0)
        assert (config.name, config.backend, config.alone) == ("w", "analytic", True)
        ended = []

        def run():
            try:
                work(config)
            except InputError as wrong:
                ended.append(str(wrong))

        thread = threading.Thread(target=run)
        thread.start()
        granted = asking.request("n0", "n2", pairs=3, minimum_fidelity=0.7, deadline_s=500.0)
        until(lambda: loop.desk.work.counts().executed == 3)
        assert asking.expired() == [] and len(granted.pairs) == 3
        revoke_key(tmp_path / "keys", "w")
        thread.join(60.0)
        assert ended and "revoked" in ended[0]
        until(lambda: loop.desk.work.workers == 0)


@pytest.mark.parametrize(("boot", "executed"), [("boot:1", True), ("boot:2", False)])
def test_a_job_is_given_again_to_the_same_process_only(tmp_path, boot, executed):
    with serving(tmp_path) as loop, client(tmp_path, loop) as asking:
        with by_hand(tmp_path, loop) as (socket, welcome):
            assert isinstance(welcome, Welcome)
            granted = asking.request("n0", "n1", minimum_fidelity=0.7, deadline_s=500.0)
            job = job_of(socket)
        # The connection is lost; the worker comes back, or another one does with its key.
        with by_hand(tmp_path, loop, boot) as (socket, _):
            if executed:
                again = job_of(socket)
                assert (again.job, again.again) == (job.job, True)
                # Said twice: it counts once, and nobody is thrown out for it.
                socket.send(encode(done(again)))
                socket.send(encode(done(again)))
                until(lambda: loop.desk.work.counts().executed == 1)
                assert asking.expired() == []
            else:
                [expired] = asking.expired(60.0)
                assert expired.rid == granted.rid and expired.code is Code.EXPIRE
                assert expired.pairs == (granted.pairs[0].sequence,)
                assert "started anew" in expired.detail
                # A late answer of the old process is no answer of the new one.
                socket.send(encode(done(job)))
                while not isinstance(said := hear(socket, LONG_MS), Refuse):
                    assert isinstance(said, Job)
                assert loop.desk.work.counts().executed == 0
                # Asked again under its name, it hears both.
                same = asking.request("n0", "n1", minimum_fidelity=0.7, rid=granted.rid)
                assert same == granted and asking.expired(0.0) == []


def test_a_silent_worker_is_given_nothing_more_until_he_speaks(tmp_path):
    with (
        serving(tmp_path, WorkTerms(patience_s=2.0)) as loop,
        client(tmp_path, loop) as asking,
        by_hand(tmp_path, loop) as (socket, _),
    ):
        granted = asking.request("n0", "n1", minimum_fidelity=0.7, deadline_s=500.0)
        job = job_of(socket)
        [expired] = asking.expired(60.0)
        assert expired.rid == granted.rid and "no answer within" in expired.detail
        until(lambda: loop.desk.work.workers == 0)
        # He was only slow: his answer counts for nothing, and he is there again.
        socket.send(encode(done(job)))
        until(lambda: loop.desk.work.workers == 1)
        assert loop.desk.work.counts().executed == 0


@contextlib.contextmanager
def babbling():
    """A port whose first caller hears his own words; whoever comes next is passed on by hand."""
    with net.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", listener


def test_a_worker_comes_again_where_libzmq_would_not(tmp_path):
    """Who once hears nonsense in a handshake is given up by libzmq: its socket is dialled anew."""
    with babbling() as (address, listener):
        pair, server = new_keys(), new_keys()
        config = WorkerConfig(
            server_key=server.public,
            public_key=pair.public,
            secret_key=pair.secret,
            address=address,
            name="w",
            backend="analytic",
            seed=0,
            alone=True,
            connect_s=600.0,
        )
        listener.settimeout(60.0)
        with Seat(config, keeps=True) as seat:
            over = threading.Event()

            def listen():
                while not over.is_set():
                    seat.hear(None)

            thread = threading.Thread(target=listen)
            thread.start()
            try:
                first, _ = listener.accept()
                with first:
                    first.settimeout(60.0)
                    with contextlib.suppress(OSError):
                        while data := first.recv(4096):
                            first.sendall(data)
                second, _ = listener.accept()
                second.close()
            finally:
                over.set()
                thread.join(60.0)


def test_who_may_not_work_is_told_why(tmp_path):
    with serving(tmp_path) as loop:
        with by_hand(tmp_path, loop, backend="aer") as (_, said):
            assert isinstance(said, Refuse)
            assert said.detail == "jobs are for backend analytic, worker w executes on aer"
        pairs = [load_pair(tmp_path / "keys" / f"{name}.key") for name in ("service", "local")]
        with dealer(loop.workers.address, *pairs) as socket:
            socket.send(encode(Hello(VERSION, "worker", "local")))
            said = hear(socket, LONG_MS)
            assert "key local has role request; this socket is for role worker" in said.detail


def test_the_doctor_looks_at_all_of_a_site_and_takes_nobodys_seat(tmp_path, monkeypatch):
    from controller.security import checks as asked
    from controller.security.greeting_probe import mechanism_of
    from controller.security.session import join
    from quantum.joining import Patience

    monkeypatch.setattr(asked, "join", partial(join, patience=Patience(30.0, 30.0)))
    monkeypatch.setattr(asked, "mechanism_of", partial(mechanism_of, patience_s=20.0))
    with serving(tmp_path) as loop, by_hand(tmp_path, loop) as (socket, _):
        ends = endpoints_of(tmp_path / "site.toml")
        assert [(end.address, end.role) for end in ends] == [
            (loop.address, "observe"),
            (loop.workers.address, "worker"),
        ]
        found = {check.name: check for check in checks(ends)}
        well = found[f"broker {loop.workers.address}"]
        assert well.status == "ok" and "admits w as worker, version 1" in well.detail
        assert found[f"clock {loop.workers.address}"].status == "ok"
        assert found[f"broker {loop.address}"].status == "ok"
        # The worker still has its seat.
        with client(tmp_path, loop) as asking:
            asking.request("n0", "n1", minimum_fidelity=0.7, deadline_s=500.0)
            socket.send(encode(done(job_of(socket))))
            until(lambda: loop.desk.work.counts().executed == 1)
        # A key that the service does not know.
        (tmp_path / "keys" / "w.pub").rename(tmp_path / "w.pub")
        until(lambda: len(loop._gate.ring) == 2)
        known = structs.replace(ends[1], key=tmp_path / "keys" / "w.key")
        [bad] = [check for check in checks([known]) if check.status == "fail"]
        assert "does not know key w" in bad.detail and "copy w.pub" in bad.advice


def test_agents_and_workers_from_the_file_play_the_run_of_one_process(tmp_path):
    wanted, folder = expected_digest(), tmp_path / "keys"
    for name, role in (("broker", "broker"), ("a", "agent"), ("b", "agent"), ("w", "worker")):
        new_key(folder, name, role)
    game, rules = setup()
    pair = load_pair(folder / "broker.key")
    broker = Broker(pair, KeyFolder(folder), backend="analytic")
    # The minds that it is compared with start from the heuristic.
    broker.briefs = tuple(_briefs(SETTING, replace(rules, start=None)))
    at = broker.endpoints
    path = tmp_path / "run.toml"
    path.write_text(
        'backend = "analytic"\n[broker]\nkeys = "keys"\n'
        f'agents = "{at.agents}"\nworkers = "{at.workers}"\ntelemetry = "{at.telemetry}"\n'
    )
    told = []
    threads = [
        threading.Thread(
            target=act_by_brief,
            args=(agent_of(str(path), key=folder / f"{name}.key"), node),
            kwargs={"connect_s": 60.0, "tell": told.append},
        )
        # The last node of the last group, and the first of the first.
        for name, node in (("b", game.world.n - 1), ("a", 0))
    ]
    worker = worker_of(str(path), of=None, key=None, wait_s=60.0)
    threads.append(threading.Thread(target=work, args=(worker,)))
    dispatch = Dispatch(rules, lambda _: None)
    for thread in threads:
        thread.start()
    try:
        broker.gather(dispatch, 1, timeout_s=120.0)
        broker.play(dispatch)
    finally:
        broker.close()
        for thread in threads:
            thread.join(60.0)
            assert not thread.is_alive()
    assert dispatch.digest.hexdigest() == wanted
    assert sorted(told) == [
        f"agent {name} speaks for nodes {', '.join(map(str, nodes))}"
        for name, nodes in zip("ab", rules.groups, strict=True)
    ]


def test_agents_that_do_not_fit_the_run_are_told_why(tmp_path):
    folder = tmp_path / "keys"
    for name, role in (("broker", "broker"), ("a", "agent")):
        new_key(folder, name, role)
    _, rules = setup()
    pair, own = (load_pair(folder / f"{name}.key") for name in ("broker", "a"))
    broker, dispatch = Broker(pair, KeyFolder(folder)), Dispatch(rules, lambda _: None)

    def said(hello):
        with dealer(broker.endpoints.agents, pair, own) as socket:
            socket.send(encode(hello))
            assert broker._agents.socket.poll(LONG_MS)
            broker._step(dispatch)
            return hear(socket, LONG_MS)

    try:
        brief = Hello(VERSION, "agent", "a", (0,), features=("brief",))
        assert said(brief).detail == "this run starts its own agents"
        broker.briefs = tuple(_briefs(SETTING, rules))
        for nodes in ((99,), (), (0, 1)):
            hello = Hello(VERSION, "agent", "a", nodes, features=("brief",))
            assert "must be 0 to 3" in said(hello).detail
        # Who only asks has no seat.
        assert isinstance(said(Hello(VERSION, "agent", "a", features=(PROBE,))), Welcome)
        assert broker._agents.room.seated() == []
    finally:
        broker.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('backend = "inline"\n', "backend is inline, so this service has no workers"),
        ('backend = "lab"\n', "backend must be one of inline, aer, analytic"),
        ('backend = "aer"\n[workers]\npatience_s = 66.0\n', "patience_s may be 65 s at most"),
        ('backend = "aer"\n[workers]\nadress = "x"\n', "did you mean address"),
        ("[workers]\nstart = 2\n", "needs a backend other than inline"),
        ("[serve]\n[run]\n", "say which by --of"),
        ("[serve]\nload = 3\n[run]\n", "say which by --of"),
        ('[run]\nbackend = "aer"\n', "no table broker, so this run starts its own"),
        ("[run]\n[run.broker]\nagent = 3\n", "did you mean agents"),
        ("[run]\nagents = 2\n[other]\n", "no keys but serve and run, got other"),
        ('backend = "aer"\nkeys = "nowhere"\n', "nowhere"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_one_line(tmp_path, text, why):
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=why) as wrong:
        worker_of(str(path), of=None, key=None, wait_s=1.0)
    assert "\n" not in str(wrong.value)


def test_which_key_is_meant_must_be_clear(tmp_path):
    path, folder = tmp_path / "site.toml", tmp_path / "keys"
    path.write_text('backend = "aer"\nkeys = "keys"\n')
    new_key(folder, "service", "broker")
    with pytest.raises(InputError, match="dpem keys new NAME --role worker"):
        worker_of(str(path), of=None, key=None, wait_s=1.0)
    new_key(folder, "one", "worker")
    assert worker_of(str(path), of=None, key=None, wait_s=1.0).name == "one"
    new_key(folder, "two", "worker")
    with pytest.raises(InputError, match="there are one, two: say which by --key"):
        worker_of(str(path), of=None, key=None, wait_s=1.0)
    chosen = worker_of(str(path), of="serve", key=folder / "two.key", wait_s=1.0)
    assert chosen.name == "two"


def test_paths_of_a_file_begin_where_it_is_and_both_parts_may_stand_in_it(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(
        '[serve]\nkeys = "k"\njournal = "j.db"\nserver_key = "s.pub"\n'
        '[serve.network]\ntopology = "net.json"\ndemand = "poisson"\n'
        '[run]\nseed = 4\n[run.broker]\nkeys = "/elsewhere"\n'
    )
    tmp_path.chmod(0o700)
    known = new_key(tmp_path, "s", "broker")
    config = load_config(str(path))
    assert config.folder == tmp_path / "k" and config.journal_path == tmp_path / "j.db"
    assert config.server_key == known.public
    assert config.network.topology == "net.json"
    (tmp_path / "net.json").write_text("{}")
    network = load_config(str(path)).network
    assert (network.topology, network.demand) == (str(tmp_path / "net.json"), "poisson")
    options, meeting = read_run(str(path))
    assert options == {"seed": 4} and str(meeting.folder) == "/elsewhere"
    with pytest.raises(InputError, match="no table run, only serve"):
        part_of({"serve": {}}, "run")
