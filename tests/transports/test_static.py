"""The JavaScript client at its stable path: status codes and conditional requests as RFC 9110 has them."""

import asyncio
import contextlib
import http.client
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from broadwing import ConfigurationError, Endpoint
from broadwing.transports.static import ClientFiles
from tests.support.background import TIMEOUT
from tests.support.server import LEAN, WSPROTO, serve

ENTRY = "/broadwing/broadwing.js"
SOURCES = Path(__file__).parents[2] / "js" / "src"


async def other_application(scope: Any, receive: Any, send: Any) -> None:
    """What the endpoint passes everything else on to."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            await send({"type": f"lifespan.{phase}.complete"})
        return
    await send({"type": "http.response.start", "status": 418, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(params=[LEAN, WSPROTO])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, on Broadwing's own server and on a plain uvicorn."""
    async with (
        serve(Endpoint(app=other_application), request.param) as served,
        httpx.AsyncClient(base_url=served.url("", "http"), trust_env=False) as browser,
    ):
        yield browser


async def test_the_client_is_served_at_a_stable_path(client: httpx.AsyncClient) -> None:
    answer = await client.get(ENTRY)
    assert answer.status_code == 200
    assert answer.content == (SOURCES / "broadwing.js").read_bytes()
    # A browser runs no module of another type (WHATWG HTML, "fetch a single module script").
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_every_module_that_the_client_imports_is_served(client: httpx.AsyncClient) -> None:
    seen: set[str] = set()
    waiting = [httpx.URL(ENTRY)]
    while waiting:
        url = waiting.pop()
        if str(url) in seen:
            continue
        seen.add(str(url))
        answer = await client.get(url)
        assert answer.status_code == 200, url
        waiting += [
            url.join(name) for name in re.findall(r'^(?:import|export) .*from "(.+)"', answer.text, re.MULTILINE)
        ]
    assert {f"/broadwing/{path.name}" for path in SOURCES.glob("*.js")} - seen <= {"/broadwing/types.js"}
    assert len(seen) > 10


async def test_a_page_of_another_origin_may_import_it(client: httpx.AsyncClient) -> None:
    # Module scripts are fetched with CORS, whatever page they are in.
    answer = await client.get(ENTRY, headers={"origin": "https://elsewhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_a_browser_asks_again_and_is_told_that_nothing_changed(client: httpx.AsyncClient) -> None:
    first = await client.get(ENTRY)
    assert first.headers["cache-control"] == "no-cache"
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    again = await client.get(ENTRY, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    # RFC 9110 section 15.4.5: what a 200 would have said of the cache.
    assert (again.headers["etag"], again.headers["cache-control"]) == (etag, "no-cache")
    assert again.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("template", ["W/{}", '"other", {}', '"other",W/{}', "*"])
async def test_if_none_match_takes_weak_tags_lists_and_the_star(client: httpx.AsyncClient, template: str) -> None:
    etag = (await client.get(ENTRY)).headers["etag"]
    answer = await client.get(ENTRY, headers={"if-none-match": template.format(etag)})
    assert answer.status_code == 304


async def test_another_version_is_sent_whole(client: httpx.AsyncClient) -> None:
    answer = await client.get(ENTRY, headers={"if-none-match": '"00000000000000000000000000000000"'})
    assert answer.status_code == 200
    assert answer.content == (SOURCES / "broadwing.js").read_bytes()


async def test_every_module_has_a_tag_of_its_own(client: httpx.AsyncClient) -> None:
    tags = {(await client.get(f"/broadwing/{path.name}")).headers["etag"] for path in SOURCES.glob("*.js")}
    assert len(tags) == len(list(SOURCES.glob("*.js")))


async def test_head_tells_what_get_would_send(client: httpx.AsyncClient) -> None:
    get, head = await client.get(ENTRY), await client.head(ENTRY)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "cache-control"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_no_other_method_is_allowed(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, ENTRY)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/broadwing",
        "/broadwing/",
        "/broadwing/nothing.js",
        "/broadwing/../package.json",
        "/broadwing/%2e%2e/package.json",
        "/broadwing/..%2fpackage.json",
        "/broadwing/%2e%2e%2ftest%2fsocket.test.js",
        "/broadwing//broadwing.js",
        "/broadwing/./broadwing.js",
        "/broadwing/broadwing.js/",
        "/broadwing/broadwing.js%00",
        "/broadwing.js",
        "/static/broadwing.js",
    ],
)
async def test_all_other_paths_are_the_applications(client: httpx.AsyncClient, path: str) -> None:
    assert await asyncio.to_thread(_status, client.base_url, path) == 418


def _status(base: httpx.URL, path: str) -> int:
    """Ask for the path as it stands; httpx would resolve its dots first."""
    assert base.port is not None
    with contextlib.closing(http.client.HTTPConnection(base.host, base.port, timeout=TIMEOUT)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


async def _get(endpoint: Endpoint, path: str) -> int:
    async with (
        serve(endpoint) as served,
        httpx.AsyncClient(base_url=served.url("", "http"), trust_env=False) as browser,
    ):
        return (await browser.get(path)).status_code


@pytest.mark.parametrize(
    ("client_path", "entry"),
    [("/assets/js", "/assets/js/broadwing.js"), ("/js/", "/js/broadwing.js"), ("/", "/broadwing.js")],
)
async def test_the_path_is_the_applications_choice(client_path: str, entry: str) -> None:
    assert await _get(Endpoint(client_path=client_path), entry) == 200


async def test_none_serves_none() -> None:
    assert await _get(Endpoint(client_path=None), ENTRY) == 404


def test_a_path_begins_with_a_slash() -> None:
    with pytest.raises(ConfigurationError, match="client_path is 'broadwing'; expected a path such as '/broadwing'"):
        Endpoint(client_path="broadwing")


def test_a_clone_without_links_is_told_what_is_missing(tmp_path: Path) -> None:
    # What git makes of the link where the file system has none: a file that holds the target's name.
    (tmp_path / "static").write_text("../../js/src")
    with pytest.raises(ConfigurationError, match=r"core\.symlinks"):
        ClientFiles("/broadwing", tmp_path / "static")


def test_the_disk_is_read_once(tmp_path: Path) -> None:
    module = tmp_path / "sub" / "module.js"
    module.parent.mkdir()
    module.write_text("export default 1\n")
    ClientFiles("/a", tmp_path)
    module.unlink()
    ClientFiles("/b", tmp_path)  # would find no client, were it to look again
