"""A headless browser that says what a page logs, asks of the network, and answers."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

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
