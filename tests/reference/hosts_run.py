"""A run whose agents and workers are on other hosts: ``python hosts_run.py JSON``, at the hub.

Everything is as ``dpem run`` has it, but where the broker listens and what starts the processes.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

from controller import broker, live, parts
from controller.processes import Processes
from controller.setting import Setting
from quantum.errors import DpemError


def main():
    asked = json.loads(sys.argv[1])
    spaces = asked["spaces"]

    def through(name):
        return ["ip", "netns", "exec", spaces[name.partition("-")[0]]]

    parts.Processes = partial(Processes, through)
    live.Broker = partial(broker.Broker, host=asked["address"])
    with Path(asked["slots"]).open("w", buffering=1) as slots:

        def stage(_, telemetry):
            if telemetry is not None:
                if telemetry.slot >= asked["silent_from"]:
                    # While processes start and compile kernels, silence says nothing.
                    broker.SILENCE_S = asked["silence_s"]
                slots.write(f"{telemetry.slot} {time.monotonic()}\n")

        found = live.run_live(Setting(**asked["setting"]), Path(asked["folder"]), stage)
    print(found.summary["decision_digest"])  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except DpemError as wrong:
        sys.stderr.write(f"dpem: {wrong}\n")
        sys.exit(wrong.exit_code)
