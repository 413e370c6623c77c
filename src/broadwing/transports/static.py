"""The JavaScript client at a stable path of the endpoint: ES modules as they are, for pages without a build step."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from broadwing.exceptions import ConfigurationError
from broadwing.transports.asgi import Scope, Send

CLIENT: Final = Path(__file__).parent.parent / "static"
"""Where the client lies in a clone and in an installation."""


class _File(NamedTuple):
    data: bytes
    headers: tuple[tuple[bytes, bytes], ...]  # of every answer, 304 too
    etag: bytes


class ClientFiles:
    """Serves the client's modules below one path; `broadwing.js` is the one that pages import.

    All files are read when this is made, so that no request touches the disk. Names are looked up among those that
    were found then, so no path leads anywhere else.

    Args:
        path: Where, e.g. `/broadwing`.
        directory: The modules.

    Raises:
        ConfigurationError: The path does not begin with a slash, or the modules are not there.
    """

    def __init__(self, path: str, directory: Path = CLIENT) -> None:
        if not path.startswith("/"):
            raise ConfigurationError(
                f"client_path is {path!r}; expected a path such as '/broadwing', or None for no client"
            )
        base = path.rstrip("/")
        self._files = {f"{base}/{name}": file for name, file in _read(directory).items()}

    async def serve(self, scope: Scope, path: str, send: Send) -> bool:
        """Answer a request for one of the files.

        Returns:
            Whether `path` is one; if not, nothing was sent.
        """
        file = self._files.get(path)
        if file is None:
            return False
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, [(b"allow", b"GET, HEAD"), (b"content-length", b"0")])
        elif _is_known(file.etag, scope["headers"]):
            await _answer(send, 304, file.headers)
        else:
            length = b"%d" % len(file.data)
            headers = [*file.headers, (b"content-type", b"text/javascript; charset=utf-8"), (b"content-length", length)]
            await _answer(send, 200, headers, file.data if scope["method"] == "GET" else b"")
        return True


@cache  # once per process, however many endpoints there are
def _read(directory: Path) -> dict[str, _File]:
    found = {path.relative_to(directory).as_posix(): path.read_bytes() for path in sorted(directory.rglob("*.js"))}
    if not found:
        raise ConfigurationError(
            f"there is no JavaScript client in {directory}: in a clone it is a link to js/src, which needs a file system with "
            "links (git: core.symlinks); install Broadwing again, or serve none with Endpoint(client_path=None)"
        )
    return {name: _file(data) for name, data in found.items()}


def _file(data: bytes) -> _File:
    etag = b'"%s"' % hashlib.sha256(data).hexdigest()[:32].encode()
    headers = (
        (b"etag", etag),
        # The modules import each other by name: after an update none may be old. Asking again costs a 304 each.
        (b"cache-control", b"no-cache"),
        # Code that everybody has anyway: a page that is served from elsewhere may import it.
        (b"access-control-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"x-content-type-options", b"nosniff"),
    )
    return _File(data, headers, etag)


def _is_known(etag: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client has this version: RFC 9110 section 13.1.2, with its weak comparison."""
    for name, value in headers:
        if name.lower() == b"if-none-match":
            known = {entry.strip().removeprefix(b"W/") for entry in value.split(b",")}
            if etag in known or b"*" in known:
                return True
    return False


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
