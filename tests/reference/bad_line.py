"""A line between clients and a service that can be cut, and held: bytes wait, nobody is told."""

import contextlib
import socket
import struct
import threading

__all__ = ["BadLine"]

#: Closing sends a reset at once, as when a machine on the way forgets the connection.
_RESET = struct.pack("ii", 1, 0)


class BadLine:
    """Passes bytes from a port of its own to ``tcp://127.0.0.1:PORT`` and back, until told not to.

    Connections that are made while the far end is away are ended; whoever comes again finds it.
    """

    def __init__(self, address: str) -> None:
        self._far = ("127.0.0.1", int(address.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._passing = threading.Event()
        self._passing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._far)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for ends in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pump, args=ends, daemon=True))
                self._threads[-1].start()

    def _pump(self, source: socket.socket, drain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                drain.sendall(data)
        for end in (source, drain):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(source)
        source.close()

    def hold(self) -> None:
        """Let nothing through from now on; connections stay open."""
        self._passing.clear()

    def go_on(self) -> None:
        """Let everything through that has waited."""
        self._passing.set()

    def cut(self) -> None:
        """Reset every connection; what was on its way is lost, and nothing is held any more."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.shutdown(socket.SHUT_RDWR)
        self.go_on()

    def close(self) -> None:
        """End everything and wait for it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
