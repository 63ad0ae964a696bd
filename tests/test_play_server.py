"""The page's server: who may come in, what is said, how it is paced, and what is bounded."""

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import give
from playing import maker_of, run_of_rooms, told_maker
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cf.playing import seat as seats
from cf.playing.hall import FORBIDDEN, FULL, MALFORMED, TAKEN, Hall, is_loopback
from cf.playing.maker import Maker
from cf.playing.messages import MOST_PICTURE, MOST_TEXT, MalformedMessageError, packed, read_message
from cf.playing.pictures import as_png, decoded, encoded
from cf.playing.record import read_played
from cf.playing.server import application

HOST = "127.0.0.1:8420"
OURS = {"host": HOST, "origin": f"http://{HOST}"}


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return maker_of(run_of_rooms(tmp_path_factory.mktemp("play") / "run"))


@pytest.fixture
def hall(maker: Maker, tmp_path: Path) -> Hall:
    return Hall(maker, tmp_path / "out", defaults={"memories": ["own"], "seed": 0, "number": 0})


@pytest.fixture
def client(hall: Hall) -> Iterator[TestClient]:
    with TestClient(application(hall), base_url=f"http://{HOST}") as made:
        yield made


class Page:
    """What a page does, without a browser."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.told = json.loads(socket.receive_text())

    def say(self, what: str, **values: Any) -> None:
        self.socket.send_text(json.dumps({"do": what, **values}))

    def begin(self, *memories: str, **changed: Any) -> Any:
        wish = {"memories": list(memories or ("own",)), "seed": 0, "number": 0, "text": ""}
        self.say("begin", **{**wish, "picture": False, **changed})
        return self.hear()

    def hear(self) -> Any:
        """The next message: as JSON, or the head of pictures with their bytes."""
        message = self.socket.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"])
        if message.get("text") is not None:
            return json.loads(message["text"])
        return unpacked(message["bytes"])

    def until(self, *names: str) -> Any:
        """The next message that says one of these."""
        while True:
            told = self.hear()
            if any(name in told for name in names):
                return told


def unpacked(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", data)
    head: dict[str, Any] = json.loads(data[4 : 4 + length])
    at, pictures = 4 + length, []
    for size in head["sizes"]:
        pictures.append(data[at : at + size])
        at += size
    assert at == len(data)
    return {**head, "pictures": pictures}


def opened(client: TestClient, path: str = "/socket", **headers: str) -> Any:
    return client.websocket_connect(path, headers={**OURS, **headers})


def code_of(client: TestClient, path: str = "/socket", **headers: str) -> int:
    """With which the server hangs up at once."""
    try:
        with opened(client, path, **headers) as socket:
            Page(socket)
    except WebSocketDisconnect as left:
        return int(left.code)
    except KeyError:  # it told nothing but that it hangs up
        return -1
    return 0


def test_the_page_asks_nobody_else_for_anything(client: TestClient) -> None:
    for path in ("/", "/play.js", "/play.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text
    assert client.get("/../config.yaml").status_code == 404
    assert client.get("/saved/none/session.json").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": ""},
    ],
    ids=["another site", "another port", "a sandbox", "none"],
)
def test_other_pages_are_not_let_in(client: TestClient, headers: dict[str, str]) -> None:
    with opened(client, **headers) as socket, pytest.raises(WebSocketDisconnect) as left:
        Page(socket)
    assert left.value.code == FORBIDDEN


def test_another_name_that_leads_here_is_not_ours(client: TestClient) -> None:
    assert client.get("/", headers={"host": "evil.example:8420"}).status_code == 400
    named = {"host": "evil.example:8420", "origin": "http://evil.example:8420"}
    with pytest.raises(Exception), opened(client, **named) as socket:  # noqa: B017, PT011
        Page(socket)


def test_other_addresses_need_a_token(hall: Hall) -> None:
    hall.token = "a secret of more than sixteen"
    with TestClient(application(hall, "0.0.0.0"), base_url="http://box:8420") as client:
        named = {"host": "box:8420", "origin": "http://box:8420"}
        assert client.get("/").status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        assert client.get(f"/?token={hall.token}").status_code == 200
        for query in ("", "?token=wrong", "?token=%C3%A9"):
            with client.websocket_connect(f"/socket{query}", headers=named) as socket:
                with pytest.raises(WebSocketDisconnect) as left:
                    Page(socket)
                assert left.value.code == FORBIDDEN
        with client.websocket_connect(f"/socket?token={hall.token}", headers=named) as socket:
            assert Page(socket).told["about"]["fps"] == 8
    assert [is_loopback(one) for one in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(one) for one in ("0.0.0.0", "box", "10.0.0.1")] == [False] * 3


def test_a_session_is_played(client: TestClient, hall: Hall) -> None:
    with opened(client) as socket:
        page = Page(socket)
        assert page.told["about"]["memories"] == ["own", "window", "full"]
        assert page.told["about"]["keys"]["ahead"] == "the next room"
        begun = page.begin("own", "window", number=5)["begun"]
        assert begun["names"] == ["own", "window", "truth"]
        given = page.hear()
        assert given["given"]
        assert given["count"] == 12
        assert len(given["pictures"]) == 36
        page.say("keys", held=["right"], tapped=["right"], at=7)
        made = page.until("heard")
        assert (made["first"], made["count"]) == (12, 3)
        while made["heard"] != 7:
            page.say("seen", frame=made["first"])
            made = page.until("heard")
        page.say("run", on=False)
        page.say("save")
        saved = page.until("saved")["saved"]
    (seat,) = hall.seats.values()
    assert seat.session is not None
    assert ("right",) in seat.session.played
    place = Path(saved["folder"])
    names = ["memory_a.mp4", "memory_b.mp4", "session.json", "truth.mp4"]
    assert sorted(one.name for one in place.glob("[!.]*")) == names  # it may be written again now
    assert read_played(place / "session.json").frames == seat.frames - 12
    file = client.get(f"/saved/{seat.name}/{place.name}/memory_a.mp4")
    assert file.content == (place / "memory_a.mp4").read_bytes()
    assert client.get(f"/saved/{seat.name}/{place.name}/..%2f..%2fsecret").status_code == 404


def test_what_a_page_gets_is_what_the_session_made(client: TestClient, maker: Maker) -> None:
    from cf.playing.maker import Wish

    with opened(client) as socket:
        page = Page(socket)
        page.begin("own", seed=2)
        given, made = page.hear(), page.until("heard")
    again = maker.session(Wish(("own",), seed=2))
    begun = again.start()
    assert begun is not None
    for moment, told in ((begun, given), (again.step(), made)):
        pictures = [
            moment.pictures[name][i] for i in range(moment.frames) for name in moment.pictures
        ]
        for data, wanted in zip(told["pictures"], pictures, strict=True):
            assert torch.equal(decoded(data, (16, 16))[0], wanted)


def test_a_page_that_shows_nothing_stops_the_video(client: TestClient, hall: Hall) -> None:
    """A slow page never grows a queue: two blocks are on their way, and no more are made."""
    with opened(client) as socket:
        page = Page(socket)
        page.begin()
        page.hear()
        first, second = page.until("heard"), page.until("heard")
        (seat,) = hall.seats.values()
        assert seat.waits
        page.say("frames", wanted=[0])  # answered, and no block comes before
        assert page.hear()["again"] == [0]
        assert seat.frames == second["first"] + 3
        page.say("seen", frame=first["first"])
        assert page.until("heard")["first"] == second["first"] + 3


def test_a_page_that_has_gone_stops_the_video_and_finds_it_again(
    client: TestClient, hall: Hall
) -> None:
    with opened(client) as socket:
        page = Page(socket)
        page.begin("own", number=4)
        page.until("heard")
        page.until("heard")  # as many as are sent to a page that has shown none
        name = page.told["seat"]
    (seat,) = hall.seats.values()
    assert not seat.running
    assert seat.connection is None
    assert len(list((hall.folder).glob("*/session.json"))) == 1
    frames = seat.frames
    with opened(client, f"/socket?seat={name}") as socket:
        page = Page(socket)
        back = page.told["back"]
        assert back["frames"] == frames == seat.frames
        assert len(back["recall"]["own"]) == frames
        assert back["begin"]["number"] == 4
        socket.send_text(json.dumps({"do": "frames", "wanted": [frames - 1, 10**6]}))
        again = unpacked(socket.receive_bytes())
        assert again["again"] == [frames - 1]
        assert len(again["pictures"]) == 2
        assert not seat.waits, "for the page before, which can show nothing any more"
        page.say("run", on=True)
        assert page.until("heard")["first"] == frames


def test_one_page_plays_unless_more_may(client: TestClient, hall: Hall) -> None:
    with opened(client) as first:
        mine = Page(first).told["seat"]
        with opened(client) as second, pytest.raises(WebSocketDisconnect) as left:
            Page(second)
        assert left.value.code == FULL
        hall.most = 2
        with opened(client) as second:
            assert Page(second).told["seat"] != mine
        # A seat that nobody sits on is free.
        hall.most = 2
        with opened(client) as third:
            assert Page(third).told["seat"] != mine


def test_a_page_may_take_the_session_of_another(client: TestClient) -> None:
    with opened(client) as first:
        page = Page(first)
        with opened(client, "/socket?take=1") as second:
            assert Page(second).told["seat"] != page.told["seat"]
            with pytest.raises(WebSocketDisconnect) as left:
                page.hear()
            assert left.value.code == TAKEN
    with opened(client) as first:
        page = Page(first)
        with opened(client, f"/socket?seat={page.told['seat']}") as second:
            assert Page(second).told["seat"] == page.told["seat"]
            with pytest.raises(WebSocketDisconnect) as left:
                page.hear()
            assert left.value.code == TAKEN


WRONG = {
    "no JSON": "{",
    "a list": "[]",
    "another word": '{"do": "eval"}',
    "nothing that belongs to it": '{"do": "run"}',
    "more than belongs to it": '{"do": "run", "on": true, "more": 1}',
    "a number for a truth value": '{"do": "run", "on": 1}',
    "not a number": '{"do": "seen", "frame": NaN}',
    "half a frame": '{"do": "seen", "frame": 1.5}',
    "a negative frame": '{"do": "frames", "wanted": [-1]}',
    "many frames": json.dumps({"do": "frames", "wanted": [0] * 65}),
    "an unknown key": '{"do": "keys", "held": ["up"], "tapped": [], "at": 0}',
    "three memories": json.dumps(
        {
            "do": "begin",
            "memories": ["a", "b", "c"],
            "seed": 0,
            "number": 0,
            "text": "",
            "picture": False,
        }
    ),
    "a book": json.dumps({"do": "say", "text": "a" * 40_000, "switch": "keep"}),
    "a library": "a" * (MOST_TEXT + 1),
    "depth": "[" * 100_000,
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_no_page_of_ours_says_is_not_heard(text: str) -> None:
    with pytest.raises(MalformedMessageError):
        read_message(text)


def test_a_page_that_says_such_things_is_hung_up_on(client: TestClient) -> None:
    for send in (
        lambda socket: socket.send_text('{"do": "eval"}'),
        lambda socket: socket.send_bytes(b"a picture that nobody announced"),
    ):
        with opened(client) as socket:
            Page(socket)
            send(socket)
            with pytest.raises(WebSocketDisconnect) as left:
                Page(socket)
            assert left.value.code == MALFORMED


def test_what_cannot_be_done_is_said_and_the_page_stays(client: TestClient) -> None:
    with opened(client) as socket:
        page = Page(socket)
        page.say("save")
        assert "nothing was played" in page.hear()["fault"]
        assert "no memory 'none'" in page.begin("none")["fault"]
        page.say("say", text="a fox", switch="keep")
        assert "nothing plays" in page.hear()["fault"]
        page.begin()
        page.until("heard")
        page.say("say", text="a fox", switch="keep")
        assert "takes no text" in page.until("fault")["fault"]


def test_texts_and_pictures_come_from_a_page(tmp_path: Path) -> None:
    hall = Hall(told_maker(), tmp_path)
    with TestClient(application(hall), base_url=f"http://{HOST}") as client:
        with opened(client) as socket:
            page = Page(socket)
            assert page.told["about"]["text"]
            picture = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)
            wish = {"memories": ["own"], "seed": 0, "number": 0, "text": "a <b>fox</b>"}
            page.say("begin", **wish, picture=True)
            socket.send_bytes(as_png(picture))
            assert page.hear()["begun"]["text"] == "a <b>fox</b>"
            assert torch.equal(decoded(page.hear()["pictures"][0], (4, 4))[0], picture)
            page.until("heard")
            page.say("say", text="a hen", switch="flush")
            made = page.until("heard", "fault")
            assert "fault" not in made
            page.say("begin", **wish, picture=True)
            socket.send_bytes(as_png(torch.zeros(3, 5, 4, dtype=torch.uint8)))
            assert "5 x 4 pixels" in page.until("fault")["fault"]
        (seat,) = hall.seats.values()
        assert seat.session is not None
        assert [one[1:] for one in seat.session.texts] == [("a hen", "flush")]


def test_a_session_has_an_end(maker: Maker, tmp_path: Path) -> None:
    hall = Hall(maker, tmp_path, seconds=2)
    with TestClient(application(hall), base_url=f"http://{HOST}") as client:
        with opened(client) as socket:
            page = Page(socket)
            page.begin()
            made = page.until("heard")
            page.say("seen", frame=made["first"])
            assert "its end" in page.until("ended")["ended"]
        (seat,) = hall.seats.values()
        assert seat.frames == 18


def test_the_pictures_of_a_session_are_bounded(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "_MOST_BYTES", 100)
    one = seats.Seat(maker, tmp_path, 10**6)
    from cf.playing.maker import Wish

    one.begin(Wish(("own",)))
    one.step()
    assert "half a gigabyte" in one.ended


def test_keys_that_were_tapped_between_two_blocks_are_heard_once(
    maker: Maker, tmp_path: Path
) -> None:
    from cf.playing.maker import Wish

    one = seats.Seat(maker, tmp_path, 10**6)
    one.begin(Wish(("own",)))
    assert not one.early
    one.keys([], ["left"], 1)
    assert one.early
    one.step()
    one.step()
    assert one.session is not None
    assert one.session.played == [("left",), (), (), (), (), ()]
    one.keys(["right"], ["right"], 2)
    one.step()
    assert one.session.played[-3:] == [("right",)] * 3
    one.keys(["right"], [], 3)
    assert not one.early
    one.keys([], [], 4)
    assert one.early


def test_pictures_are_whole_where_they_are_small() -> None:
    small = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
    assert torch.equal(decoded(encoded(small), (32, 48))[0], small)
    smooth = torch.linspace(0, 255, 200).to(torch.uint8).expand(3, 160, 200)
    data = encoded(smooth)
    assert data[:2] == b"\xff\xd8"
    assert (decoded(data, (160, 200))[0].int() - smooth.int()).abs().max() < 8
    for wrong in (b"", b"GIF89a", data[:50], as_png(small)[:40]):
        with pytest.raises(ValueError, match=r"no PNG or JPEG|pixels came"):
            decoded(wrong, (160, 200))
    assert len(packed({"a": 1}, [b"xy"])) == 4 + len('{"a": 1, "sizes": [2]}') + 2
    assert MOST_PICTURE > 4 * 720 * 1280


def test_a_network_without_weights_is_refused_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        give("cf.play", "model=tiny")
    assert "checkpoint must be given: model=..." in capsys.readouterr().err


def test_what_serves_the_page_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from cf import play

    monkeypatch.setattr(play, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(ImportError, match=r"cf.play needs uvicorn: pip install -e '.\[play\]'"):
        play.check_installed()


def test_an_address_is_taken_and_open_before_anything_is_loaded() -> None:
    from cf import play

    with play._bound("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 5).close()
        with pytest.raises(ValueError, match=f"port={port}: .*port=0 takes any that is free"):
            play._bound("127.0.0.1", port)
