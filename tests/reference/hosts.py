"""Hosts of a network on one machine: namespaces, and links between them with delay and loss.

A link is a pair of TUN devices with a thread between them that carries packets, late, or not at
all. (``tc netem`` would do the same where the kernel has it; many that run tests have not.) Needs
root on Linux.
"""

import contextlib
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from pathlib import Path

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def why_not():
    """Return why there can be no hosts here, or nothing."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "namespaces need root"
    if shutil.which("ip") is None:
        return "there is no ip command (Debian: iproute2)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    name = f"dpem-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "the kernel makes no network namespaces"
    _ip("netns", "del", name)
    return ""


def _ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True)


def _tun(name):
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return handle


class Link(threading.Thread):
    """Carries packets both ways after ``delay_s``, each lost with probability ``loss``.

    ``cut`` is a partition: as long as it is set, everything is lost.
    """

    def __init__(self, one, other, *, delay_s=0.0, loss=0.0, seed=0):
        super().__init__(daemon=True)
        self.delay_s, self.loss, self.cut = delay_s, loss, threading.Event()
        self.carried = self.lost = 0
        self._ends = {one: other, other: one}
        self._ending = threading.Event()
        self._random = random.Random(seed)

    def run(self):
        late, number = [], 0
        while not self._ending.is_set():
            wait = 0.2 if not late else max(0.0, min(0.2, late[0][0] - time.monotonic()))
            ready, _, _ = select.select(list(self._ends), [], [], wait)
            for end in ready:
                with contextlib.suppress(BlockingIOError):
                    packet = os.read(end, 65536)
                    if self.cut.is_set() or self._random.random() < self.loss:
                        self.lost += 1
                        continue
                    number += 1
                    due = time.monotonic() + self.delay_s
                    heapq.heappush(late, (due, number, self._ends[end], packet))
            while late and late[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(late)
                # A device that is full or gone loses packets too, as real ones do.
                with contextlib.suppress(OSError):
                    os.write(end, packet)
                    self.carried += 1

    def close(self):
        self._ending.set()
        self.join()
        for end in self._ends:
            os.close(end)


class Hosts:
    """A hub and others, each a namespace; every other has a link to the hub, ``links[name]``.

    The hub answers at ``address`` from everywhere.
    """

    address = "10.213.255.1"

    def __init__(self, names, **link):
        self._mark = f"dpem{os.getpid()}"
        self.hub, self.links, self._made = f"{self._mark}-hub", {}, []
        try:
            self._host(self.hub)
            self._inside(self.hub, "addr", "add", f"{self.address}/32", "dev", "lo")
            for number, name in enumerate(names):
                self._join(number, name, link)
        except BaseException:
            self.close()
            raise

    def namespace(self, name):
        """Return the namespace of a host by its name."""
        return f"{self._mark}-{name}"

    def _host(self, space):
        _ip("netns", "add", space)
        self._made.append(space)
        self._inside(space, "link", "set", "lo", "up")

    def _inside(self, space, *words):
        _ip("-n", space, *words)

    def _join(self, number, name, link):
        space, ends = self.namespace(name), []
        self._host(space)
        for side, where in (("h", self.hub), ("o", space)):
            device = f"t{os.getpid() % 100000}{side}{number}"
            ends.append(_tun(device))
            _ip("link", "set", device, "netns", where)
            mine, theirs = (1, 2) if side == "h" else (2, 1)
            own = f"10.213.{number}.{mine}"
            self._inside(
                where, "addr", "add", own, "peer", f"10.213.{number}.{theirs}", "dev", device
            )
            self._inside(where, "link", "set", device, "up")
            if side == "o":
                self._inside(where, "route", "add", f"{self.address}/32", "dev", device)
        self.links[name] = Link(*ends, seed=number, **link)
        self.links[name].start()

    def close(self):
        for link in self.links.values():
            link.close()
        for space in self._made:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def inside(space, line):
    """Return the command line that runs another one in a namespace."""
    return ["ip", "netns", "exec", space, *line]


def spaces_left():
    """Return our namespaces that are still there."""
    return [path.name for path in Path("/run/netns").glob(f"dpem{os.getpid()}-*")]
