"""A headless browser that says what a page logs, asks of the network, and answers."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
    "--window-size=1200,900",
)


def ask(page: Path, script: str, width: int | None = None) -> tuple[Any, list[str], list[str]]:
    """What `script`, the body of an async function, returns in a page; errors; addresses asked.

    Args:
        page: an HTML file.
        script: what is asked.
        width: of the screen, in pixels, as on a phone; None: of a desk.
    """
    assert BROWSER is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [BROWSER, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "DevTools listening on" in line:
                    port = line.split("127.0.0.1:")[1].split("/")[0]
                    return asyncio.run(_ask(int(port), page.as_uri(), script, width))
            raise RuntimeError("the browser did not start")
        finally:
            process.terminate()
            process.wait(20)
            process.stderr.close()


async def _ask(
    port: int, address: str, script: str, width: int | None
) -> tuple[Any, list[str], list[str]]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            tabs = json.loads(await answer.text())
        socket = next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"]
        async with session.ws_connect(socket, max_msg_size=0) as line:
            return await asyncio.wait_for(_talk(line, address, script, width), 90)


async def _talk(
    line: Any, address: str, script: str, width: int | None
) -> tuple[Any, list[str], list[str]]:
    phone = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    calls: list[tuple[str, dict[str, Any]]] = [
        *([("Emulation.setDeviceMetricsOverride", phone)] if width else []),
        ("Runtime.enable", {}),
        ("Log.enable", {}),
        ("Network.enable", {}),
        ("Page.enable", {}),
        ("Page.navigate", {"url": address}),
    ]
    for number, (method, parameters) in enumerate(calls):
        await line.send_json({"id": number, "method": method, "params": parameters})
    errors: list[str] = []
    asked: list[str] = []
    async for message in line:
        told = json.loads(message.data)
        method, parameters = told.get("method"), told.get("params", {})
        if method == "Page.loadEventFired":
            wrapped = f"(async () => {{ {script} }})().then(JSON.stringify)"
            given = {"expression": wrapped, "awaitPromise": True, "userGesture": True}
            await line.send_json({"id": 99, "method": "Runtime.evaluate", "params": given})
        elif method == "Runtime.exceptionThrown":
            errors.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            errors.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            errors.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            asked.append(parameters["request"]["url"])
        elif told.get("id") == 99:
            result = told["result"]
            if "exceptionDetails" in result:
                raise RuntimeError(str(result["exceptionDetails"]))
            return json.loads(result["result"]["value"]), errors, asked
    raise RuntimeError("the browser hung up")


class Tab:
    """A page that is driven step by step.

    Attributes:
        errors: what it logged as an error or a warning, and what it threw.
        asked: addresses of all that it asked for.
    """

    def __init__(self, socket: str) -> None:
        from websockets.sync.client import connect

        self._held = ExitStack()
        self._line = self._held.enter_context(connect(socket, max_size=None, ping_interval=None))
        self._number = 0
        self.errors: list[str] = []
        self.asked: list[str] = []
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """What the browser answers to a command of its protocol."""
        self._number += 1
        number = self._number
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._line.recv(timeout=60))
            if told.get("id") == number:
                return told.get("result", {})
            self._note(told.get("method"), told.get("params", {}))

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.errors.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(told["url"])

    def go(self, address: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """What `script`, the body of an async function, returns."""
        wrapped = f"(async () => {{ {script} }})().then((x) => JSON.stringify(x ?? null))"
        given = {"expression": wrapped, "awaitPromise": True, "userGesture": True}
        result = self.call("Runtime.evaluate", **given)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return json.loads(result["result"]["value"])

    def until(self, condition: str, seconds: float = 60) -> Any:
        """The value of an expression, once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(f"try {{ return ({condition}); }} catch {{ return null; }}")
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}; errors: {self.errors}")

    def key(self, code: str, down: bool) -> None:
        """Press a key, or let it go."""
        name = {"KeyW": "w", "KeyA": "a", "KeyS": "s", "KeyD": "d"}.get(code, code)
        kind = "keyDown" if down else "keyUp"
        self.call("Input.dispatchKeyEvent", type=kind, code=code, key=name)

    def close(self) -> None:
        """Hang up; the page goes with its browser."""
        self._held.close()


class Browser:
    """A headless browser of several tabs; use it as a context manager."""

    def __enter__(self) -> "Browser":
        assert BROWSER is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        words = [BROWSER, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "DevTools listening on" in line:
                self._port = int(line.split("127.0.0.1:")[1].split("/")[0])
                break
        else:
            raise RuntimeError("the browser did not start")
        # What it says on is read, so that it never waits for us.
        self._reading = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reading.start()
        self._tabs: list[Tab] = []
        return self

    def tab(self, address: str, width: int = 1200, height: int = 900) -> Tab:
        """A new tab at an address, in view."""
        asked = f"http://127.0.0.1:{self._port}/json/new?about:blank"
        with urlopen(Request(asked, method="PUT"), timeout=30) as answer:
            tab = Tab(json.loads(answer.read())["webSocketDebuggerUrl"])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        tab.call("Emulation.setDeviceMetricsOverride", **size)
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.go(address)
        self._tabs.append(tab)
        return tab

    def __exit__(self, *_: object) -> None:
        for tab in self._tabs:
            tab.close()
        self._process.terminate()
        self._process.wait(20)
        self._reading.join(20)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile.cleanup()
