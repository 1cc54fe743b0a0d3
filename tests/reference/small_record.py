"""A small run folder: a header, some events, two files and a summary."""

from pathlib import Path

from quantum.record import RecordWriter

__all__ = ["EVENTS", "HEADER", "write"]

HEADER = {"seed": 7, "started": "2026-01-02T03:04:05Z", "command": ["dpem", "run"]}
EVENTS = [
    {"event": "request", "slot": 0, "pairs": 4, "minimum_fidelity": 0.75},
    {"event": "delivered", "slot": 3, "pairs": 4, "label": 'A–B \u2028 "x" {"hash":"…'},
    {
        "event": "round",
        "slot": 250,
        "epsilon": 1e22,
        "tiny": 5e-324,
        "none": None,
        "deep": {"a": [1]},
    },
]


def write(folder: Path) -> str:
    with RecordWriter(folder, HEADER) as writer:
        writer.write_file("scenario.json", b'{"seed": 7}\n')
        writer.write_file("run.png", bytes(range(256)))
        for event in EVENTS:
            writer.append(event)
        return writer.close({"delivery_rate": 0.9, "slots": 300})
