"""The page's server against those who should not get in, and the command that starts it."""

import asyncio
import http.client
import json
import re
import signal
import subprocess
import sys

import aiohttp
import pytest
from click.testing import CliRunner
from onlooker import Served, write

from controller.commands.dashboard import command
from controller.dashboard.access import Tokens, is_own_host
from controller.setting import Setting
from quantum.errors import InputError
from quantum.record import verify

#: Only a failing test waits so long: kernels may have to be compiled first.
PATIENCE_S = 400.0
SETTING = Setting(
    topology="line-3",
    demand="poisson",
    load_hz=40.0,
    seconds=1.0,
    warmup_s=0.2,
    seed=3,
    round_s=0.5,
    rivals=(),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server") / "run"
    write(folder, SETTING)
    with Served(folder) as running:
        yield running


def ask(served, path, method="GET", body=None, **headers):
    """Ask with exactly these headers (``Host`` too): (status, headers, body)."""
    wire = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        wire.putrequest(method, path, skip_host="Host" in names)
        for name, value in names.items():
            wire.putheader(name, value)
        if body is not None:
            wire.putheader("Content-Length", str(len(body)))
        wire.endheaders(body)
        answer = wire.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        wire.close()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


PLACES = ["/", "/assets/main.js", "/assets/index.html", "/state", "/stream", "/nothing"]


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("token", [None, "", "x", "é" * 40, "A" * 43])
def test_nothing_is_served_without_a_token(served, path, token):
    headers = {} if token is None else {"Cookie": f"dpem-dashboard-{served.port}={token}"}
    headers = {name: value.encode() for name, value in headers.items()}
    status, told, body = ask(served, path, **headers)
    assert status == 401
    assert b"holds a token" in body
    assert "default-src 'none'" in told["Content-Security-Policy"]


def test_a_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(served):
    status, told, _ = ask(served, f"/?token={served.tokens.observe}")
    assert (status, told["Location"]) == (303, "/")
    cookie = told["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    status, told, body = ask(served, "/", Cookie=cookie.partition(";")[0])
    assert status == 200 and b"<canvas" in body
    policy = told["Content-Security-Policy"]
    assert "unsafe" not in policy and "http" not in policy
    assert told["X-Content-Type-Options"] == "nosniff" and told["Cache-Control"] == "no-store"
    # Only there: elsewhere a token in the address would stay in it.
    assert ask(served, f"/state?token={served.tokens.observe}")[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.nip.io", ""]
)
def test_a_name_that_points_here_is_no_way_in(served, host):
    assert ask(served, "/state", Host=host, **bearer(served.tokens.operate))[0] in (400, 421)
    assert not is_own_host(host)


def test_addresses_and_localhost_are_ways_in(served):
    for host in (f"127.0.0.1:{served.port}", "localhost", "[::1]:80"):
        assert ask(served, "/state", Host=host, **bearer(served.tokens.observe))[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "file://"])
@pytest.mark.parametrize(("path", "method"), [("/stream", "GET"), ("/stop", "POST")])
def test_pages_of_other_sites_are_refused(served, origin, path, method):
    status, _, body = ask(
        served, path, method, b"{}" if method == "POST" else None,
        Origin=origin, **bearer(served.tokens.operate),
    )  # fmt: skip
    assert (status, body) == (403, b"requests of other sites are refused\n")


def test_only_an_operator_stops_and_only_what_is_there(served):
    wish = b'{"what": "run", "reason": "because"}'
    status, _, body = ask(served, "/stop", "POST", wish, **bearer(served.tokens.observe))
    assert (status, body) == (403, b"this token may observe; stopping needs role operate\n")
    status, _, body = ask(served, "/stop", "POST", wish, **bearer(served.tokens.operate))
    assert (status, body) == (409, b"no run is going on in this folder\n")
    for body, status in (
        (b"", 400),
        (b"{", 400),
        (b'{"what": "run"}', 400),
        (b'{"what": "run", "reason": "x", "more": 1}', 400),
        (b'{"what": "run", "reason": " "}', 409),
        (b'{"what": "all", "reason": "x"}', 409),
        (b'{"what": "instruments", "reason": "x"}', 409),
        (b'{"what": "run", "reason": "' + b"x" * 5000 + b'"}', 413),
    ):
        assert ask(served, "/stop", "POST", body, **bearer(served.tokens.operate))[0] == status, (
            body
        )


def test_paths_lead_nowhere_else(served):
    paths = ["/assets/../server.py", "/assets/%2e%2e/server.py", "/assets/main.js/x"]
    paths += [f"/state?slot={slot}" for slot in ("-1", "1e9", "9" * 40)]
    for path in paths:
        assert ask(served, path, **bearer(served.tokens.operate))[0] in (400, 404), path


@pytest.mark.parametrize("word", ["{", '{"at": "x"}', '{"at": 1, "b": 2}', "x" * 2000, b"\x00\xff"])
def test_a_socket_that_says_nonsense_is_closed_and_others_stay(served, word):
    async def talk():
        headers = bearer(served.tokens.observe)
        at = f"http://127.0.0.1:{served.port}/stream"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(at) as good,
            session.ws_connect(at) as bad,
        ):
            greeting = json.loads((await good.receive()).data)
            await (bad.send_bytes(word) if isinstance(word, bytes) else bad.send_str(word))
            async for _ in bad:
                pass
            assert bad.closed
            await good.send_str('{"at": 7}')
            return greeting, json.loads((await good.receive()).data)

    greeting, answer = asyncio.run(talk())
    assert greeting["greeting"]["role"] == "observe"
    assert answer["frame"]["now"]["slot"] == 7 and answer["live"] is False


def test_tokens_are_told_apart_by_all_of_their_letters():
    tokens = Tokens("a" * 43, "b" * 43)
    assert (tokens.role_of("a" * 43), tokens.role_of("b" * 43)) == ("observe", "operate")
    for wrong in ("", "a" * 42, "a" * 44, "a" * 42 + "b", "\ud800"):
        assert tokens.role_of(wrong) is None


def until(served, wanted):
    """Follow the stream until a frame is as wanted."""

    async def follow():
        at = f"http://127.0.0.1:{served.port}/stream"
        headers, frame = bearer(served.tokens.observe), {}
        async with (
            asyncio.timeout(PATIENCE_S),
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(at) as socket,
        ):
            async for message in socket:
                frame |= json.loads(message.data)["frame"]
                if wanted(frame):
                    return frame
        raise AssertionError(frame)

    return asyncio.run(follow())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a run folder, or --run"),
        (["/nowhere/at/all"], "cannot read the run folder /nowhere/at/all"),
        ([".", "--nonsense"], "no such option: --nonsense"),
        (["--run", "--out"], "--out needs a value"),
    ],
)
def test_wrong_words_are_one_line(words, said):
    done = CliRunner().invoke(command, words)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    done = CliRunner().invoke(command, [str(tmp_path / "file")])
    assert isinstance(done.exception, InputError)


def start(*words, **more):
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from quantum.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "dashboard", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def addresses(process):
    lines = [process.stdout.readline() for _ in range(2)]
    found = [re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line) for line in lines]
    assert all(found), (lines, process.stderr.read() if process.poll() is not None else "")
    return int(found[0][1]), Tokens(found[0][2], found[1][2])


def test_one_command_starts_a_run_and_its_page_and_stopping_there_seals_it(tmp_path):
    """The real thing: processes, sockets, a wish from the page, a sealed record."""
    folder = tmp_path / "run"
    process = start(
        *(
            "--run",
            "--topology",
            "line-3",
            "--demand",
            "poisson",
            "--load",
            "20",
            "--seconds",
            "600",
        ),
        *("--warmup", "1", "--backend", "analytic", "--agents", "1", "--allocator", "mean-rate"),
        *("--out", folder, "--json", "-"),
    )
    try:
        served = type("Served", (), {})()
        # The run that it starts says nothing on standard output: what comes is JSON.
        lines = [process.stdout.readline() for _ in range(5)]
        said = json.loads("".join(lines))
        assert said["shown"] == str(folder)
        found = [re.search(r":(\d+)/\?token=(\S+)$", said[name]) for name in ("watch", "operate")]
        served.port, served.tokens = int(found[0][1]), Tokens(found[0][2], found[1][2])
        until(served, lambda f: f["status"]["state"] == "running" and f["now"]["slot"] >= 10)
        wish = b'{"what": "run", "reason": "seen enough"}'
        assert ask(served, "/stop", "POST", wish, **bearer(served.tokens.operate))[0] == 200
        frame = until(served, lambda f: f["status"]["state"] == "broken off")
        assert frame["status"]["word"] == "Stopped by the dashboard: seen enough"
        assert not verify(folder).complete
        assert frame["controls"] == []
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 0


def test_a_run_that_cannot_begin_ends_the_page_with_its_word(tmp_path):
    process = start("--run", "--topology", "nowhere", "--out", tmp_path / "run")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "nowhere" in said


@pytest.mark.long
def test_ctrl_c_on_the_page_ends_the_run_in_order(tmp_path):
    folder = tmp_path / "run"
    process = start(
        *("--run", "--topology", "line-3", "--backend", "analytic", "--agents", "1"),
        *("--allocator", "mean-rate", "--seconds", "600", "--out", folder),
    )
    served = type("Served", (), {})()
    served.port, served.tokens = addresses(process)
    until(served, lambda f: f["status"]["state"] == "running" and f["now"]["slot"] >= 5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert not verify(folder).complete
