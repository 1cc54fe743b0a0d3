"""A small controller of a rack, as processes: what chaos tests kill.

``python rack_stage.py broker RACK FOLDER`` plays a broker: the real process of pulses, one agent
process with the real heart, the real worker, and a job after another. It writes the process ids to
FOLDER/pids.json once results come, and every answer of the worker to FOLDER/answers.jsonl.
``python rack_stage.py agent CONFIG`` is the agent: a heart around a process that does nothing else.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import zmq

from controller.heart import Heart
from controller.processes import Processes
from controller.pulsing import Pulses
from controller.security import Client, Gate, Keyring, bound, new_keys
from controller.security.limits import WORKER
from quantum.egp import Bye, Done, Failed, Hello, Job, Task, Welcome
from quantum.joining import Connection, WorkerConfig
from quantum.program import Generate, Program
from quantum.rack import load_rack
from quantum.wire import decode, encode

PURE = (1.0, 0.0, 0.0, 0.0)


def agent(path: str) -> None:
    config = msgspec.json.decode(Path(path).read_bytes(), type=Connection)
    Heart(config).start()
    time.sleep(600.0)


def broker(rack: str, folder: Path) -> None:
    server, agent_keys, worker_keys = new_keys(), new_keys(), new_keys()
    context = zmq.Context()
    gate = Gate(context, Keyring([Client("worker-0", "worker", worker_keys.public)]))
    socket, address = bound(context, zmq.ROUTER, "tcp://127.0.0.1:0", server, gate, WORKER)
    socket.router_mandatory = False
    pulses = Pulses(
        server,
        {agent_keys.public: "agent-0"},
        {worker_keys.public: "worker-0"},
        silence_s=load_rack(Path(rack)).safety.agent_s,
    )
    common = {"address": address, "server_key": server.public}
    common["pulse"] = pulses.address
    config = Path(tempfile.mkdtemp()) / "agent.json"
    config.write_bytes(
        msgspec.json.encode(
            Connection(
                **common,
                public_key=agent_keys.public,
                secret_key=agent_keys.secret,
                name="agent-0",
            )
        )
    )
    import subprocess

    heart = subprocess.Popen([sys.executable, __file__, "agent", str(config)])
    with Processes() as processes:
        processes.start(
            "backends.worker",
            "worker-0",
            WorkerConfig(
                **common,
                public_key=worker_keys.public,
                secret_key=worker_keys.secret,
                name="worker-0",
                backend="lab",
                seed=1,
                rack=rack,
            ),
        )
        pulses.watch({"agent-0": heart.pid} | processes.ids())
        pids = {"broker": 0, "agent": heart.pid, "worker": processes.ids()["worker-0"]}
        pids["pulse"] = pulses._process.pid
        try:
            serve(socket, pulses, folder, pids)
        finally:
            pulses.close()
            heart.kill()
            heart.wait()
            gate.close()
            context.destroy(linger=200)


def serve(socket: zmq.Socket[bytes], pulses: Pulses, folder: Path, pids: dict[str, int]) -> None:
    identity, job, told = b"", 0, False
    tasks = tuple(Task(Program((Generate(0, PURE),)), basis=n % 3, draw=0.5) for n in range(20))
    with (folder / "answers.jsonl").open("w") as answers:
        while True:
            pulses.look(job)
            if not socket.poll(100):
                continue
            identity, frame = socket.recv_multipart()
            message = decode(frame)
            if isinstance(message, Hello):
                socket.send_multipart([identity, encode(Welcome(1, 0))])
                if job == 0:
                    pulses.begin()
            if isinstance(message, Done | Failed):
                answers.write(msgspec.json.encode(message).decode() + "\n")
                answers.flush()
                if isinstance(message, Done) and not told:
                    told = True
                    (folder / "pids.tmp").write_text(json.dumps(pids))
                    (folder / "pids.tmp").rename(folder / "pids.json")
            if (folder / "end").exists():
                socket.send_multipart([identity, encode(Bye())])
                return
            job += 1
            socket.send_multipart([identity, encode(Job(job, tasks))])


if __name__ == "__main__":
    if sys.argv[1] == "agent":
        agent(sys.argv[2])
    else:
        broker(sys.argv[2], Path(sys.argv[3]))
