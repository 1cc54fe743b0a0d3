"""What ``dpem doctor`` asks about keys and brokers: each finding is one line with what to do."""

import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import zmq

from controller.client import Client
from controller.security.greeting_probe import mechanism_of
from controller.security.keyring import read_folder
from controller.security.keys import KeyPair, default_folder, load_pair, load_public
from controller.security.limits import REQUEST
from controller.security.session import join
from controller.security.sockets import dialled
from controller.site import own_names
from quantum.commands.findings import Check, Endpoint
from quantum.egp import PROBE, VERSION, Hello
from quantum.errors import DeviceTimeout, InputError, RequestError, WireError
from quantum.roles import PARTS

__all__ = ["check_endpoint", "check_folder", "check_port", "checks"]

#: Clocks this far apart make deadlines wrong; answers to requests come within milliseconds.
_CLOCK_S = 0.05


def checks(endpoints: list[Endpoint]) -> Iterator[Check]:
    """Check this user's keys, and the folders and brokers that were named."""
    folders = {end.keys for end in endpoints if end.keys is not None}
    home = default_folder()
    if home not in folders and home.exists():
        # Nobody may need these: a fault in them keeps nothing from working.
        for found in check_folder(home):
            mild = found.status == "fail"
            yield msgspec.structs.replace(found, status="warn") if mild else found
    for folder in sorted(folders):
        yield from check_folder(folder)
    for end in endpoints:
        if end.listen:
            yield check_port(end.listen)
        if end.address:
            yield from check_endpoint(end)


def check_folder(folder: Path) -> Iterator[Check]:
    """Check who can enter a key folder, and every file in it."""
    name = f"keys {folder}"
    try:
        keys, troubles = read_folder(folder)
    except InputError as wrong:
        yield Check(name, "fail", *_halves(str(wrong), "dpem keys new makes a folder"))
        return
    for path in sorted(folder.glob("*.key")):
        try:
            load_pair(path)
        except InputError as wrong:
            troubles.append(str(wrong))
    for line in troubles:
        yield Check(
            name, "fail", *_halves(line, "mend the file, or revoke the key and make another")
        )
    if not troubles:
        revoked = sum(bool(key.revoked) for key in keys)
        yield Check(name, "ok", f"{len(keys) - revoked} keys, {revoked} revoked")


def check_port(address: str) -> Check:
    """Check that a broker of this machine could listen at ``tcp://host:port``."""
    name = f"listen {address}"
    try:
        host, port = _parts(address)
    except InputError as wrong:
        return Check(name, "fail", str(wrong), "mend listen")
    if host == "*":
        host = "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family, reuse_port=False):
            return Check(name, "ok", "the port is free")
    except OSError as wrong:
        if wrong.errno == errno.EADDRINUSE:
            return Check(
                name,
                "warn",
                "the port is in use",
                "stop what listens there, or choose another port",
            )
        advice = "listen at an address of this machine, and a port above 1023"
        return Check(name, "fail", wrong.strerror or str(wrong), advice)


def check_endpoint(end: Endpoint) -> Iterator[Check]:
    """Check that a broker can be reached, is the one that is meant, admits our key; its clock."""
    name = f"broker {end.address}"
    try:
        spoken = mechanism_of(*_parts(end.address))
    except InputError as wrong:
        yield Check(name, "fail", *_halves(str(wrong), "mend address"))
        return
    except OSError as wrong:
        yield Check(name, "fail", *_unreachable(wrong))
        return
    if spoken != "CURVE":
        what = f"speaks ZeroMQ with {spoken}" if spoken else "does not speak ZeroMQ"
        yield Check(name, "fail", f"what listens there {what}", "check the port")
        return
    try:
        server, here = _server_key(end), _own_keys(end)
    except InputError as wrong:
        yield Check(name, "fail", *_halves(str(wrong), "dpem keys new makes a key"))
        return
    if server and not here and end.role in PARTS:
        # As it should be on a machine that has no such part.
        told = f"somebody listens there with CURVE; no key of role {end.role} is on this machine"
        yield Check(name, "ok", told)
        return
    if not server or not here:
        advice = "give --server-key and --key to see whether it admits you"
        yield Check(name, "warn", "somebody listens there with CURVE", advice)
        return
    for pair, who in here:
        yield from _joined(name, end, server, pair, who)


def _joined(name: str, end: Endpoint, server: str, pair: KeyPair, who: str) -> Iterator[Check]:
    with zmq.Context() as context:
        own = dialled(context, zmq.DEALER, server, pair, max_bytes=REQUEST.max_bytes)
        own.linger = 0
        try:
            # Only asked for: nobody's seat is taken, whose jobs would be lost.
            hello = Hello(VERSION, end.role, who, features=(PROBE,), sent_s=time.time())
            session = join(own, hello, end.address)
        except WireError:
            # Services have messages of their own; the key was admitted before they could be said.
            yield from _asked(name, end.address, server, pair, who)
            return
        except InputError as wrong:
            yield Check(name, "fail", *_halves(str(wrong), "see docs/security.md"))
            return
        session.close()
    joining, welcome = session.joining, session.joining.welcome
    assert welcome is not None
    told = f"admits {who} as {end.role}, version {welcome.v}"
    if welcome.features:
        told += f" with {', '.join(welcome.features)}"
    yield Check(name, "ok", told)
    if joining.offset_s is None:
        yield Check(f"clock {end.address}", "warn", "the broker tells no time", "update the broker")
        return
    off, doubt = joining.offset_s, joining.doubt_s
    told = f"the broker's clock is {off * 1e3:+.1f} ms off ours (+- {doubt * 1e3:.1f} ms)"
    good = abs(off) - doubt <= _CLOCK_S
    advice = "" if good else "synchronise both clocks (chrony, ntpd): deadlines go by the broker's"
    yield Check(f"clock {end.address}", "ok" if good else "warn", told, advice)


def _asked(name: str, address: str, server: str, pair: KeyPair, who: str) -> Iterator[Check]:
    """Check whether a service lets somebody ask; a session is opened and left."""
    try:
        with Client(address, server, pair, name="dpem doctor") as client:
            terms = client.terms
    except RequestError as wrong:
        yield Check(name, "fail", *_halves(wrong.detail, "see docs/security.md"))
        return
    except DeviceTimeout:
        yield Check(name, "ok", f"admits key {who}")
        yield Check(f"clock {address}", "warn", "tells no time in answer to a hello")
        return
    told = f"lets {who} ask for pairs of {terms.network}, version {terms.v}"
    yield Check(name, "ok", told + (f" with {', '.join(terms.features)}" if terms.features else ""))
    yield Check(f"clock {address}", "ok", "deadlines are on the service's own clock")


def _parts(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        if parts.scheme == "tcp" and parts.hostname and parts.port and not parts.path:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise InputError(f"address {address!r} is not tcp://HOST:PORT")


def _unreachable(wrong: OSError) -> tuple[str, str]:
    if isinstance(wrong, ConnectionRefusedError):
        return "nothing listens there", "start the broker, or check the port"
    if isinstance(wrong, socket.gaierror):
        return "the host name is not known", "check the name, or give its number"
    if isinstance(wrong, TimeoutError):
        return "no answer", "check the host, and firewalls in between"
    return wrong.strerror or str(wrong), "check the network"


def _server_key(end: Endpoint) -> str:
    """Return the broker's public key: the one given, else the only broker's in the key folder."""
    if end.server_key.endswith(".pub"):
        return load_public(Path(end.server_key)).public
    if not end.server_key and end.keys is not None:
        named = end.keys / f"{end.server_name}.pub"
        if end.server_name and named.exists():
            return load_public(named).public
        keys, _ = read_folder(end.keys)
        known = [key.public for key in keys if key.role == "broker" and not key.revoked]
        return known[0] if len(known) == 1 else ""
    return end.server_key


def _own_keys(end: Endpoint) -> list[tuple[KeyPair, str]]:
    """Return our key pairs and their names: the file given, else those of the role that are here.

    People have one key for all that they may do, ``local``.
    """
    if end.key is not None:
        return [(load_pair(end.key), end.name or end.key.name.removesuffix(".key"))]
    if end.keys is None:
        return []
    names = own_names(end.keys, end.role) if end.role in PARTS else ["local"]
    paths = [end.keys / f"{name}.key" for name in names]
    return [(load_pair(path), end.name or path.stem) for path in paths if path.exists()]


def _halves(line: str, advice: str) -> tuple[str, str]:
    """Split an error line into what is wrong and what to do, where it says both."""
    wrong, colon, mend = line.rpartition(": ")
    known = ("chmod", "chown", "copy", "ask", "check", "compare", "start", "update", "revoke")
    return (wrong, mend) if colon and mend.startswith(known) else (line, advice)
