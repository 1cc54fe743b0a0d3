"""A headless Chromium, driven by the DevTools protocol over the WebSocket that it offers.

Enough of a browser for our tests: pages, keys, pointers, pictures, emulated screens and eyes. What
a page loads, logs and throws is kept, so that a test can say that there was nothing of it.
"""

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

T = TypeVar("T")
#: Only a failing test waits so long.
PATIENCE_S = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
_KEYS = {" ": ("Space", 32), "Enter": ("Enter", 13), "Tab": ("Tab", 9), "Escape": ("Escape", 27)}
_KEYS |= {
    f"Arrow{n}": (f"Arrow{n}", c)
    for n, c in zip(("Left", "Up", "Right", "Down"), range(37, 41), strict=True)
}


def find() -> str | None:
    """Return the program, from ``DPEM_CHROMIUM`` or the path."""
    chosen = os.environ.get("DPEM_CHROMIUM")
    return chosen or next((p for name in _NAMES if (p := shutil.which(name))), None)


class Chromium:
    """A browser with a profile of its own, gone with it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._loop = asyncio.new_event_loop()
        self._profile = tempfile.mkdtemp(prefix="dpem-chromium-")

    def __enter__(self) -> Self:
        # Its output goes to a file: a pipe that nobody reads would stop it in the end.
        self._log = Path(self._profile) / "stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *_FLAGS, f"--user-data-dir={self._profile}/data", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._session = self.do(_session())
            self._address = self.do(self._listening())
        except BaseException:
            self._end()
            raise
        return self

    async def _listening(self) -> str:
        place = Path(self._profile) / "data" / "DevToolsActivePort"
        for _ in range(int(PATIENCE_S * 50)):
            if self._process.poll() is not None:
                raise RuntimeError(f"chromium ended at once: {self._log.read_text()[-2000:]}")
            lines = place.read_text().split("\n") if place.exists() else []
            if len(lines) >= 2:
                return f"127.0.0.1:{lines[0]}"
            await asyncio.sleep(0.02)
        raise TimeoutError("chromium does not offer its tools")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.do(self._session.close())
        self._end()

    def _end(self) -> None:
        # All its processes are in a session that we made for it.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._loop.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this browser to its end."""
        return self._loop.run_until_complete(work)

    def tab(self) -> "Tab":
        """Open an empty tab, with a jar of cookies of its own."""
        return self.do(self._open())

    async def _open(self) -> "Tab":
        async with self._session.put(f"http://{self._address}/json/new?about:blank") as answer:
            told = json.loads(await answer.text())
        socket = await self._session.ws_connect(told["webSocketDebuggerUrl"], max_msg_size=0)
        tab = Tab(self, socket)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await tab.ask(f"{domain}.enable")
        await tab.ask("Network.clearBrowserCookies")
        return tab


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


class Tab:
    """One page; ``requests`` are the addresses it asked for, ``problems`` what went wrong in it."""

    def __init__(self, browser: Chromium, socket: "aiohttp.ClientWebSocketResponse") -> None:
        self._browser, self._socket = browser, socket
        self._numbers = itertools.count(1)
        self.requests: list[str] = []
        self.problems: list[str] = []

    async def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """Ask the browser, and note what it says meanwhile."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": values})
        async with asyncio.timeout(PATIENCE_S + 30.0):
            while True:
                message = json.loads((await self._socket.receive()).data)
                if message.get("id") == number:
                    if "error" in message:
                        raise RuntimeError(f"{method}: {message['error']}")
                    found: dict[str, Any] = message["result"]
                    return found
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        said = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(said["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(said["exceptionDetails"])[:600])
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.problems.append(json.dumps(said["args"])[:600])
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.problems.append(
                    said["entry"]["text"][:600] + " " + said["entry"].get("url", "")
                )

    def do(self, method: str, **values: Any) -> dict[str, Any]:
        """Ask the browser by any method of the protocol."""
        return self._browser.do(self.ask(method, **values))

    def go(self, address: str) -> None:
        """Load a page."""
        self.do("Page.navigate", url=address)

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        found = self.do("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{code}: {json.dumps(found['exceptionDetails'])[:800]}")
        return found["result"].get("value")

    def wait(self, code: str) -> Any:
        """Wait until an expression is true, and return it; a page that changes is no matter."""
        guarded = f"(() => {{ try {{ return ({code}); }} catch {{ return false; }} }})()"

        async def until() -> Any:
            value: Any = None
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    found = await self.ask(
                        "Runtime.evaluate", expression=guarded, returnByValue=True
                    )
                    value = found.get("result", {}).get("value")
                    if value:
                        return value
                    await asyncio.sleep(0.02)

        try:
            return self._browser.do(until())
        except TimeoutError as wrong:
            raise AssertionError(f"never true: {code}; problems: {self.problems}") from wrong

    def press(self, key: str) -> None:
        """Press and release a key."""
        code, number = _KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0])))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        values: dict[str, Any] = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.do("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
        self.do("Input.dispatchKeyEvent", type="keyUp", **values)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, which has to be there and uncovered."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.click_at(*box)

    def click_at(self, x: float, y: float) -> None:
        """Click at a point of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screen(self, width: int, height: int, *, dots: float = 1.0, mobile: bool = False) -> None:
        """Emulate a screen."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=dots,
            mobile=mobile,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer the colour scheme light or dark."""
        self.do(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """Close the tab."""
        self.do("Page.close")
