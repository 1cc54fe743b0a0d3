"""Every message of applications, of regions and of racks, with its golden bytes.

``frames-services-v1.txt`` was written once; a change of these bytes is a change of the protocol.
Messages between brokers, agents and workers stand in ``frames``.
"""

from pathlib import Path
from typing import NamedTuple

from backends.supervisor import messages as rack
from controller.regions import wire as regions
from quantum import alterations as nets
from quantum import requests as apps
from quantum.errors import Code

__all__ = ["PROTOCOLS", "SPOKEN", "Protocol"]

RID = bytes(range(16))
PAIRS = (apps.Pair("a", "b", 7, 0.875, 0),)
STATE = (0.875, 0.0625, 0.03125, 0.03125)
STEPS = (
    nets.Part("c"),
    nets.Join("d", 5.0, 2.5, 16, 0.5, -0.5, (nets.NewLink("a", 12.5, STATE),)),
    nets.Fail("a", "b"),
    nets.Return("a", "d"),
)
KINDS = (apps.Measured(0.75, 0.8125, 0.875, 100, 0.5),)


class Protocol(NamedTuple):
    """How messages of one kind are written, and how each side reads them."""

    encode: object
    sides: tuple
    messages: dict


PROTOCOLS = {
    "application": Protocol(
        apps.encode_request,
        (apps.decode_ask, apps.decode_answer),
        {
            "open": apps.Open(1, "ada", ("retry",)),
            "ask": apps.Ask(RID, b"s", "a", "b", 2.5, 3, 0.75),
            "leave": apps.Leave(b"s"),
            "opened": apps.Opened(1, b"s" * 12, 3.25, 2, "mesh", 256, 64, 60.0, 5.0, ("busy",)),
            "again": apps.Again(),
            "closed": apps.Closed(Code.UNSUPP, "no"),
            "granted": apps.Granted(RID, PAIRS, KINDS),
            "denied": apps.Denied(RID, Code.BUSY, "later", retry_s=0.5),
            "denied, with pairs": apps.Denied(RID, Code.TIMEOUT, "late", PAIRS, KINDS),
            "expired": apps.Expired(RID, (7, 300), Code.EXPIRE, "gone"),
            "alter": nets.Alter(RID, b"s", STEPS),
            "altered": nets.Altered(RID, 3, 5, 6, 1, 2),
            "survey": nets.Survey(RID, b"s", 1000),
            "surveyed": nets.Surveyed(
                RID,
                3,
                True,
                0,
                2,
                (nets.Place("a", 5.0, 2.5, 16, 0.5, -0.5, 3),),
                (nets.Line("a", "b", 12.5, STATE, False, 2),),
            ),
        },
    ),
    "region": Protocol(
        regions.encode,
        (regions.decode_from_asker, regions.decode_from_owner),
        {
            "reserve": regions.Reserve(RID, "a", "b", 2, 0.75, 1.5, joined=True),
            "held": regions.Held(RID, ((7, 0.875), (300, 0.75))),
            "pending": regions.Pending(RID),
            "commit": regions.Commit(RID),
            "used": regions.Used(RID, (True, False)),
            "release": regions.Release(RID),
            "gone": regions.Gone(RID, Code.NORES, "no room", busy=True),
        },
    ),
    "rack": Protocol(
        rack.encode,
        (rack.decode_request, rack.decode_reply),
        {
            "acquire": rack.Acquire(RID, 1, "ada"),
            "renew": rack.Renew(7),
            "release": rack.Release(RID, 7),
            "trip": rack.Trip(RID, 7, "agent-0 was killed"),
            "prepare": rack.Prepare(RID, 7),
            "run": rack.Run(RID, 7, 3, b"\1\2"),
            "act": rack.Act(RID, 7, "laser", "set_open", (True, 2, 3.5, "x", (1.0, 2.0), {1: 17})),
            "status": rack.Status(RID),
            "rearm": rack.Rearm(RID, "looked at it"),
            "estop": rack.Estop(RID, "smoke"),
            "granted": rack.Granted(RID, 7, 0.5, "armed"),
            "did": rack.Did(RID, {"power_dbm": -3.5}),
            "refused": rack.Refused(RID, Code.REJECTED, "no", device=True),
            "report": rack.Report(
                RID, "bench", "armed", "", "ada", 7, "log", {"laser": {"on": True}}, {"laser": 1}
            ),
            "stopped": rack.Stopped(RID, 1.5, 2.5, True, {"laser": "off"}, {"laser": 0.5}),
        },
    ),
}
_FILE = Path(__file__).with_name("frames-services-v1.txt")
#: (protocol, message) -> its golden frame.
SPOKEN: dict[tuple[str, str], bytes] = {}
for _line in _FILE.read_text().splitlines():
    _names, _, _frame = _line.rpartition(": ")
    _protocol, _, _name = _names.partition(" ")
    SPOKEN[_protocol, _name] = bytes.fromhex(_frame)
