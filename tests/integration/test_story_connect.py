"""Who is let in, what `connect` is told, and what a refusal looks like; over every transport.

Statuses are those of Phoenix 1.8.12, recorded in spec/vectors/recording_handshake.json: over WebSocket the HTTP status, over
long polling the `status` in the body. tests/integration/test_handshake.py has the bytes.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.typing import Subprotocol

from broadwing.session import make_csrf_state, make_csrf_token
from tests.integration.conftest import World
from tests.support.app import CSRF_SESSION, SECRET, SESSION, GroundSocket, make_endpoint
from tests.support.background import TIMEOUT
from tests.support.client import V1, V2, Client, Closed, Refused
from tests.support.loopback import HOST
from tests.support.server import LEAN, serve, until


async def refusal(world: World, mount: str = "/socket", **options: Any) -> Refused:
    """Connect, which must fail."""
    with pytest.raises(Refused) as refused:
        await world.connect(mount, **options)
    return refused.value


@pytest.mark.parametrize("how", ["error", "reason"])
async def test_a_client_that_connect_refuses_gets_403(world: World, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 65"""
    caplog.set_level(logging.INFO)
    refused = await refusal(world, refuse=how)
    assert (refused.status, refused.body if world.is_websocket else b"") == (403, b"")
    assert "REFUSED CONNECTION TO GroundSocket in" in caplog.text


async def test_the_error_handler_chooses_the_answer_of_a_websocket(world: World) -> None:
    """checklist 66; long polling answers 403 whatever it says, as in Phoenix"""
    refused = await refusal(world, "/errh", refuse="rate_limit")
    if world.is_websocket:
        assert (refused.status, refused.body) == (429, b"Too many requests")
    else:
        assert refused.status == 403
    assert (await refusal(world, "/errh", refuse="reason")).status == 403


async def test_a_connect_that_raises_is_answered_with_500(world: World, caplog: pytest.LogCaptureFixture) -> None:
    refused = await refusal(world, refuse="raise")
    assert refused.status == 500
    assert "connect of GroundSocket raised" in caplog.text


@pytest.mark.parametrize("vsn", ["123.1.1", "3.0.0", "2.1.0", "1.1.0"])
async def test_a_version_that_no_serializer_fits_is_refused(
    world: World, vsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 69, 99"""
    assert (await refusal(world, vsn=vsn)).status == 403
    assert (
        f"The client's requested transport version \"{vsn}\" does not match server's version requirements"
        in caplog.text
    )
    assert world.endpoint.connected == []


@pytest.mark.parametrize("vsn", ["2", "2.0", "v2.0.0", "02.0.0", "abc", ""])
async def test_a_version_that_is_none_is_refused(world: World, vsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 105"""
    with pytest.raises(Refused) as refused:
        await world.connect(path=_path(world, vsn=vsn))
    assert refused.value.status == 403
    assert f'Client sent invalid transport version "{vsn}"' in caplog.text


async def test_a_version_that_is_a_list_is_refused(world: World) -> None:
    """checklist 105"""
    with pytest.raises(Refused) as refused:
        await world.connect(path=_path(world, **{"vsn[]": "2.0.0"}))
    assert refused.value.status == 403


async def test_without_a_version_the_client_speaks_1_0_0(world: World) -> None:
    """checklist 105"""
    world.vsn = V1
    client = await world.connect(path=_path(world))
    await client.join("room:lobby")


@pytest.mark.parametrize("vsn", ["2.0.9", "2.0.0+build", "2.0.1-rc.1", "1.0.3"])
async def test_later_patches_of_a_version_are_that_version(world: World, vsn: str) -> None:
    client = await world.connect(path=_path(world, vsn=vsn))
    client.vsn = V1 if vsn.startswith("1") else V2
    await client.join("room:lobby")


def _path(world: World, **query: str) -> str:
    """The transport's path with exactly this query; the one that `connect` adds comes after a name of its own."""
    tail = "/websocket" if world.is_websocket else "/longpoll"
    return f"{tail}?{urlencode({**query, 'rest': ''})}"


async def test_an_origin_outside_the_list_is_refused_and_none_at_all_is_not(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 40, 64, 94"""
    refused = await refusal(world, "/origin", headers={"origin": "http://evil.test"})
    assert refused.status == 403
    assert "Origin of the request: http://evil.test" in caplog.text
    await world.connect("/origin", headers={"origin": "https://example.com"})
    await world.connect("/origin")


async def test_by_default_pages_of_the_endpoints_own_host_may_connect(world: World) -> None:
    """checklist 30"""
    await world.connect(headers={"origin": "https://localhost:8443"})
    assert (await refusal(world, headers={"origin": "https://example.com"})).status == 403


@pytest.mark.parametrize("origin", ["null", "file://"])
async def test_an_origin_without_a_host_is_refused(world: World, origin: str) -> None:
    """checklist 34"""
    assert (await refusal(world, headers={"origin": origin})).status == 403
    assert (await refusal(world, "/origin", headers={"origin": origin})).status == 403


@pytest.mark.parametrize("origin", ["https://example.com", "file://", "null", "bare"])
async def test_without_an_origin_check_every_page_may_connect(ws_world_v2: World, origin: str) -> None:
    """checklist 29"""
    ws_world_v2.endpoint.socket("/any", GroundSocket, websocket={"check_origin": False})
    await ws_world_v2.connect("/any", headers={"origin": origin})


async def test_the_endpoints_own_list_counts_where_the_mount_has_none() -> None:
    """checklist 31"""
    endpoint = make_endpoint()
    endpoint.check_origin = ["https://*.example.com"]
    endpoint.socket("/listed", GroundSocket)
    async with serve(endpoint) as served:
        world = World(endpoint, served, LEAN, V2)
        await (await world.connect("/listed", headers={"origin": "https://sub.example.com"})).close()
        assert (await refusal(world, "/listed", headers={"origin": "http://sub.example.com"})).status == 403


async def test_a_function_alone_may_accept_an_origin_without_a_host(ws_world_v2: World) -> None:
    """checklist 35, 38"""
    asked = []

    def accept(origin: Any) -> bool:
        asked.append(origin)
        return True

    ws_world_v2.endpoint.socket("/asked", GroundSocket, websocket={"check_origin": accept})
    await ws_world_v2.connect("/asked", headers={"origin": "null"})
    assert len(asked) == 1


async def test_parameters_reach_connect_as_plug_nests_them(world: World) -> None:
    """checklist 76"""
    query: dict[str, Any] = {"user[name]": "ä b", "list[]": "1", "user_id": "7"}
    client = await world.connect(**query)
    ((params, info),) = world.endpoint.connected
    assert params == {"vsn": client.vsn, "user": {"name": "ä b"}, "list": ["1"], "user_id": "7"}
    assert dict(info) == {}


async def test_paths_may_hold_variables_that_win_over_parameters(world: World) -> None:
    """checklist 78"""
    path = "/connect/ignored" if world.is_websocket else "/poll/ignored"
    client = await world.connect("/users/42/socket", path=path, user_id="7")
    ((params, _),) = world.endpoint.connected
    assert params == {"vsn": client.vsn, "user_id": "42"}
    await client.join("room:lobby")


async def test_an_impossible_query_is_refused_with_400(world: World) -> None:
    tail = "/websocket" if world.is_websocket else "/longpoll"
    with pytest.raises(Refused) as refused:
        await world.connect(path=f"{tail}?a=%ff&b=")
    assert refused.value.status == 400


HEADERS = {
    "x-one": "1",
    "x-Two": "zwei, drei",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "congo=t61rcWkgMzE",
    "sec-websocket-mine": "verbatim Value",
    "user-agent": "a browser",
}


async def test_connect_is_told_what_the_mount_asks_for(world: World) -> None:
    """checklist 55, 56, 58, 84"""
    await world.connect("/info", headers=HEADERS, a="b")
    ((_, info),) = world.endpoint.connected
    assert set(info) == {
        *("peer_data", "trace_context_headers", "x_headers", "uri", "user_agent"),
        *("sec_websocket_headers", "session", "static"),
    }
    tail = "/websocket" if world.is_websocket else "/longpoll"
    assert info["x_headers"] == [("x-one", "1"), ("x-two", "zwei, drei")]
    assert info["trace_context_headers"] == [(k, HEADERS[k]) for k in ("traceparent", "tracestate")]
    assert ("sec-websocket-mine", "verbatim Value") in info["sec_websocket_headers"]
    assert info["user_agent"] == "a browser"
    assert info["static"] == "value"
    assert info["session"] is None
    assert info["uri"] == {
        "scheme": "http",
        "host": HOST,
        "port": world.served.port,
        "path": f"/info{tail}",
        "query": f"vsn={world.vsn}&a=b",
    }
    peer = info["peer_data"]
    assert (peer["address"], type(peer["port"]), peer["ssl_cert"]) == ("127.0.0.1", int, None)


STATE = make_csrf_state()


async def test_a_session_comes_with_its_cookie_and_csrf_token(world: World) -> None:
    """checklist 57"""
    cookie = f"other=1; {SESSION.key}={SESSION.dump(SECRET, {'_csrf_token': STATE, 'user_id': 7})}"
    token = make_csrf_token(STATE)
    await world.connect("/info", headers={"cookie": cookie}, _csrf_token=token)
    await world.connect("/info", headers={"cookie": cookie})
    await world.connect("/info", headers={"cookie": cookie}, _csrf_token=make_csrf_token(make_csrf_state()))
    await world.connect("/info", headers={"cookie": cookie[:-2]}, _csrf_token=token)
    await world.connect("/info", _csrf_token=token)
    sessions = [info["session"] for _, info in world.endpoint.connected]
    assert sessions == [{"_csrf_token": STATE, "user_id": 7}, None, None, None, None]


async def test_the_csrf_token_may_be_kept_under_another_key(ws_world_v2: World) -> None:
    """checklist 44"""
    token = make_csrf_token(STATE)
    for key in ("another_csrf_token", "_csrf_token"):
        cookie = f"{CSRF_SESSION.key}={CSRF_SESSION.dump(SECRET, {key: STATE})}"
        await ws_world_v2.connect("/csrf", headers={"cookie": cookie}, _csrf_token=token)
    sessions = [info["session"] for _, info in ws_world_v2.endpoint.connected]
    assert sessions == [{"another_csrf_token": STATE}, None]


async def test_without_check_csrf_the_session_needs_no_token(ws_world_v2: World) -> None:
    """checklist 45, 46"""
    cookie = f"{SESSION.key}={SESSION.dump(SECRET, {'user_id': 7})}"
    await ws_world_v2.connect("/nocsrf", headers={"cookie": cookie}, _csrf_token="invalid")
    await ws_world_v2.connect("/nocsrf", headers={"cookie": cookie})
    assert [info["session"] for _, info in ws_world_v2.endpoint.connected] == [{"user_id": 7}] * 2


async def test_a_session_may_be_read_by_a_function(ws_world_v2: World) -> None:
    """checklist 43"""

    def session(request: Any) -> dict[str, Any]:
        return {"path": request.path}

    ws_world_v2.endpoint.socket("/own", GroundSocket, websocket={"connect_info": {"session": session}})
    await ws_world_v2.connect("/own")
    assert ws_world_v2.endpoint.connected[0][1] == {"session": {"path": "/own/websocket"}}


@pytest.mark.parametrize(
    ("offered", "chosen", "token"),
    [
        # "czNjcmV0" is the standard Base64 of "s3cret".
        ("phoenix, base64url.bearer.phx.czNjcmV0", "phoenix", "s3cret"),
        ("base64url.bearer.phx.czNjcmV0", None, "s3cret"),
        ("phoenix", "phoenix", None),
        (None, None, None),
        ("phoenix, base64url.bearer.phx.czNjcmV0, base64url.bearer.phx.czNjcmV0", "phoenix", None),
    ],
)
async def test_an_auth_token_comes_as_a_subprotocol(
    ws_world_v2: World, offered: str | None, chosen: str | None, token: str | None
) -> None:
    """checklist 42, 117"""
    protocols = [Subprotocol(each) for each in offered.split(", ")] if offered is not None else None
    client = await ws_world_v2.connect_websocket("/auth", subprotocols=protocols)
    answered = client.connection.response
    assert answered is not None
    assert answered.headers.get("sec-websocket-protocol") == chosen
    assert ws_world_v2.endpoint.connected[0][1] == {"auth_token": token}


@pytest.mark.parametrize(
    ("offered", "status"),
    [("chat", 403), ("phoenix, base64url.bearer.phx.%%%", 400), ("base64url.bearer.phx.a-_b", 400)],
)
async def test_a_subprotocol_or_token_that_is_none_of_ours_is_refused(
    ws_world_v2: World, offered: str, status: int
) -> None:
    """checklist 42, 117; the 400 is a departure: Phoenix answers 500"""
    refused = await refusal(ws_world_v2, "/auth", headers={"sec-websocket-protocol": offered})
    assert refused.status == status
    assert ws_world_v2.endpoint.connected == []


async def test_over_long_polling_an_auth_token_is_a_header(world: World) -> None:
    """checklist 117"""
    if world.is_websocket:
        await world.connect("/auth", headers={"x-phoenix-authtoken": "s3cret"})
        assert world.endpoint.connected[0][1] == {"auth_token": None}
        return
    client = await world.connect("/auth", headers={"x-phoenix-authtoken": "s3cret"})
    await client.join("room:lobby")
    await client.send("1", "2", "room:lobby", "info")
    await client.expect_reply(
        "1",
        "2",
        "room:lobby",
        "ok",
        {
            "assigns": {"info": {"auth_token": "s3cret"}, "user_id": None},
            "join_ref": "1",
            "ref": "2",
            "transport": "longpoll",
        },
    )


async def test_where_nothing_is_configured_offered_subprotocols_mean_nothing(ws_world_v2: World) -> None:
    """checklist 41"""
    headers = {"sec-websocket-protocol": "phoenix, base64url.bearer.phx.czNjcmV0"}
    client = await ws_world_v2.connect_websocket(headers=headers)
    assert client.connection.subprotocol is None
    assert ws_world_v2.endpoint.connected[0][1] == {}


@pytest.mark.parametrize("returned", [False, True, "error", ("error", "why")])
async def test_a_connect_that_returns_a_value_refuses(
    world: World, returned: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 28: elsewhere `return False` refuses; here it must not let everybody in"""

    async def connect(self: Any, params: Any, info: Any) -> Any:
        self.assign(user_id=None)
        return returned

    monkeypatch.setattr(GroundSocket, "connect", connect)
    assert (await refusal(world)).status == 403
    assert f"GroundSocket.connect returned {returned!r}; expected None" in caplog.text


@pytest.mark.parametrize("name", [42, b"users_socket:42", ["users_socket"]])
async def test_an_id_that_is_no_string_refuses(
    world: World, name: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 28"""
    monkeypatch.setattr(GroundSocket, "id", lambda self: name)
    assert (await refusal(world)).status == 403
    assert f"GroundSocket.id() returned {name!r}; expected a string such as 'users_socket:42', or None" in caplog.text


async def _broadcasts_until_the_end(client: Client) -> int | None:
    while True:
        try:
            assert (await client.receive()).event == "e"
        except Closed as closed:
            return closed.code


async def test_a_silent_client_is_closed_although_it_was_answered_before(ws_world: World) -> None:
    """checklist 70; pushes to the client do not count, only what it sends"""
    ws_world.endpoint.socket("/impatient", GroundSocket, websocket={"timeout": 0.8})
    client = await ws_world.connect("/impatient")
    await client.join("room:lobby")
    await client.send(None, "1", "phoenix", "heartbeat")
    await client.expect_reply(None, "1", "phoenix")

    async def broadcast() -> None:
        while True:
            ws_world.endpoint.broadcast("room:lobby", "e", {})
            await asyncio.sleep(0.05)

    task = asyncio.get_running_loop().create_task(broadcast())
    try:
        async with asyncio.timeout(TIMEOUT):
            assert await _broadcasts_until_the_end(client) == 1002
    finally:
        task.cancel()
    await until(lambda: ws_world.endpoint.terminated == [("room:lobby", ("shutdown", "closed"))])
