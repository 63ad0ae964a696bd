"""The page as a person uses it, in a headless browser: started, steered, compared, saved, lost."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from browser import BROWSER, Browser
from playing import maker_of, run_of_rooms, told_maker

from cf.playing.hall import Hall
from cf.playing.maker import Maker
from cf.playing.record import read_played
from cf.playing.server import application

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
]


class Serving:
    """A server in a thread, that can be killed and started again at its address."""

    def __init__(self, hall: Hall, port: int = 0) -> None:
        self.hall, self._listening = hall, socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(
            application(hall),
            log_level="error",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        given = {"sockets": [self._listening]}
        self._thread = threading.Thread(target=self._server.run, kwargs=given, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._listening.close()


def hall_of(maker: Maker, folder: Path, *memories: str) -> Hall:
    defaults = {"memories": list(memories), "seed": 0, "number": 0, "text": ""}
    return Hall(maker, folder, defaults=defaults)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return maker_of(run_of_rooms(tmp_path_factory.mktemp("play") / "run"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def test_a_video_is_steered_compared_and_saved(
    maker: Maker, browser: Browser, tmp_path: Path
) -> None:
    serving = Serving(hall_of(maker, tmp_path, "own", "window"))
    try:
        tab = browser.tab(serving.address, width=360, height=740)
        tab.until("window.cfPlay.state().total > 15")
        tab.key("KeyD", down=True)
        tab.until("window.cfPlay.latencies.length")
        assert tab.run("return document.querySelector('[data-key=right]').ariaPressed") == "true"
        tab.key("KeyD", down=False)
        tab.run("document.querySelector('[data-key=ahead]').focus()")
        tab.key("Enter", down=True)
        tab.key("Enter", down=False)
        (seat,) = serving.hall.seats.values()
        session = seat.session
        assert session is not None
        tab.until("window.cfPlay.state().total > 40")
        assert {"right", "ahead"} <= {key for held in session.played for key in held}
        # Two memories, the truth, what they hold, nothing wider than the phone.
        assert tab.run("return [...document.querySelectorAll('figure b')].length") == 3
        assert "holds" in tab.run("return document.querySelector('.strip-told').textContent")
        assert tab.run("return document.documentElement.scrollWidth") <= 360
        different = """const [a, b] = [...document.querySelectorAll('.screen')].map((one) =>
            one.getContext('2d').getImageData(0, 0, 16, 16).data.join()); return a !== b;"""
        assert tab.run(different)
        # Seek, and go on.
        tab.run("""const seek = document.getElementById('seek'); seek.value = 5;
            seek.dispatchEvent(new Event('input'));""")
        tab.until("window.cfPlay.state().shown === 5 && !window.cfPlay.state().running")
        assert not seat.running
        tab.run("document.getElementById('live').click()")
        tab.until("window.cfPlay.state().back === null && window.cfPlay.state().running")
        tab.run("document.getElementById('save').click()")
        tab.until("document.querySelectorAll('#saved a').length === 4")
        loaded = "return (await fetch(document.querySelector('#saved a').href)).status"
        assert tab.run(loaded) == 200
        # Loaded again, it is where it was, and waits.
        tab.run("document.getElementById('play').click()")
        tab.until("!window.cfPlay.state().running")
        total = tab.run("return window.cfPlay.state().total")
        tab.call("Page.reload")
        tab.until(f"window.cfPlay.state().total >= {total} && window.cfPlay.state().kept > 0")
        assert tab.run("return window.cfPlay.state().running") is False
        tab.run("document.getElementById('play').click()")
        tab.until(f"window.cfPlay.state().total > {total + 6}")
        assert tab.errors == []
        assert {one.split("/")[2] for one in tab.asked} == {f"127.0.0.1:{serving.port}"}
        (file,) = tmp_path.glob("*/session.json")
        assert read_played(file).frames > 0
    finally:
        serving.end()


def test_two_tabs_and_a_killed_server(maker: Maker, browser: Browser, tmp_path: Path) -> None:
    serving = Serving(hall_of(maker, tmp_path, "own"))
    first = browser.tab(serving.address)
    first.until("window.cfPlay.state().total > 15")
    second = browser.tab(serving.address)
    told = "document.getElementById('notice-text').textContent"
    assert "Another page plays" in second.until(told)
    second.run("document.getElementById('notice-button').click()")
    second.until("window.cfPlay.state().total > 15")
    assert "took this session over" in first.until(told)
    assert [*first.errors, *second.errors] == []
    serving.end()
    assert "does not answer" in second.until(told)
    assert str(tmp_path) in second.run(f"return {told}")
    assert list(tmp_path.glob("*/session.json"))
    again = Serving(hall_of(maker, tmp_path, "own"), serving.port)
    try:
        second.run("document.getElementById('notice-button').click()")
        second.until("window.cfPlay.state().total > 15")
    finally:
        again.end()


def test_a_text_is_changed_and_never_becomes_html(browser: Browser, tmp_path: Path) -> None:
    serving = Serving(hall_of(told_maker(), tmp_path, "own"))
    try:
        tab = browser.tab(serving.address)
        tab.until("!document.getElementById('say-part').hidden")
        tab.run("""document.getElementById('text').value = '<img src=x onerror=alert(1)>';
            document.querySelector('#begin-form .main').click();""")
        tab.until("window.cfPlay.state().total > 6")
        tab.run("""document.getElementById('say').value = '<b onclick=alert(2)>a hen</b>';
            document.getElementById('switch').value = 'flush';
            document.querySelector('#say-form button').click();""")
        (seat,) = serving.hall.seats.values()
        session = seat.session
        assert session is not None
        total = tab.run("return window.cfPlay.state().total")
        tab.until(f"window.cfPlay.state().total > {total + 6}")
        assert [one[1:] for one in session.texts] == [("<b onclick=alert(2)>a hen</b>", "flush")]
        assert session.begin.text == "<img src=x onerror=alert(1)>"
        assert "<b onclick" in tab.run("return document.getElementById('texts').textContent")
        assert tab.run("return document.querySelectorAll('img, #texts b').length") == 0
        assert tab.errors == []
    finally:
        serving.end()
