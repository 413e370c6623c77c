"""The way into a mount: everything that is checked before a client is let in, the same for every transport.

The order is Phoenix's (`lib/phoenix/transports/websocket.ex`), with one change: whether a request can become a WebSocket at all
is looked at before the application's `connect` runs, not after.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from broadwing.core.connect_info import compile_connect_info
from broadwing.core.origin import OriginCheck, compile_check, refusal_message
from broadwing.core.params import PathPattern, parse_query
from broadwing.core.request import Request
from broadwing.core.upgrade import compile_subprotocols, negotiate_subprotocol, subprotocol_message
from broadwing.exceptions import BadRequest, ConfigurationError, ConnectError, VersionError
from broadwing.transports.base import Handler, Host
from broadwing.transports.options import ErrorHandler, LongPollOptions, WebSocketOptions
from broadwing.types import ConnectInfo

logger = logging.getLogger("broadwing.transport")


class Refusal(NamedTuple):
    """An HTTP answer instead of a connection."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Visitor(NamedTuple):
    """A client that may come in as far as the transport is concerned; the application has not been asked yet."""

    params: dict[str, Any]
    info: ConnectInfo
    subprotocol: str | None


class Entrance:
    """One transport of one mount.

    Attributes:
        host: What is mounted.
        pattern: The whole path, mount and transport.
        options: The transport's settings.
        secret_key_base: The endpoint's secret, for what the transport signs itself.
        is_draining: Whether the server is about to stop; nobody is let in any more.
    """

    def __init__(
        self,
        host: Host,
        pattern: PathPattern,
        options: WebSocketOptions | LongPollOptions,
        *,
        check_origin: OriginCheck,
        url_host: str | None,
        auth_token: bool,
        secret_key_base: str | None,
    ) -> None:
        self.host = host
        self.pattern = pattern
        self.options = options
        self.auth_token = auth_token
        self.secret_key_base = secret_key_base
        self.is_draining = False
        self._origin_option = check_origin if options.check_origin is None else options.check_origin
        if self._origin_option is False and not options.check_csrf:
            raise ConfigurationError(
                f"{host.name} at {pattern.template} has both check_origin and check_csrf off, so that any web page could use "
                "the visitor's session; turn one of them on"
            )
        self._url_host = url_host
        self._origin_ok = compile_check(self._origin_option, host=url_host)
        self._info = compile_connect_info(
            options.connect_info, auth_token=auth_token, secret_key_base=secret_key_base, check_csrf=options.check_csrf
        )
        self._subprotocols: tuple[str, ...] | None = None
        self._error_handler: ErrorHandler | None = None
        if isinstance(options, WebSocketOptions):
            self._subprotocols = compile_subprotocols(options.subprotocols)
            self._error_handler = options.error_handler

    def origin_allowed(self, request: Request) -> bool:
        """Judge the request's origin; a refusal is logged with the ways to fix it."""
        try:
            if self._origin_ok(request):
                return True
        except Exception:  # an application's own check that fails lets nobody in
            logger.exception("check_origin of %s raised; the client is refused", self.host.name)
            return False
        logger.error(
            "%s",
            refusal_message(request.header(b"origin"), self._origin_option, host=self._url_host, request=request),
        )
        return False

    def params(self, request: Request, variables: Mapping[str, str]) -> dict[str, Any]:
        """Parse the query; variables in the path win over parameters of the same name.

        Raises:
            BadRequest: The query is malformed (400) or too long (414).
        """
        params = parse_query(request.query)
        params.update(variables)
        return params

    def info(self, request: Request, params: Mapping[str, Any], auth_token: str | None) -> ConnectInfo:
        """What `connect` is told of the request."""
        return self._info(request, params, auth_token)

    def examine(self, request: Request, variables: Mapping[str, str]) -> Refusal | Visitor:
        """Check a WebSocket request up to the point where the application is asked."""
        if request.method != "GET":
            return Refusal(400)
        if self.is_draining:
            return STOPPING
        try:
            params = self.params(request, variables)
        except BadRequest as error:
            return Refusal(error.status, str(error).encode())
        if not self.origin_allowed(request):
            return Refusal(403)
        subprotocol = None
        token = None
        if self.auth_token or self._subprotocols is not None:
            offered = request.header_list(b"sec-websocket-protocol")
            outcome = negotiate_subprotocol(offered, self._subprotocols, self.auth_token)
            if outcome.status is not None:
                logger.error("%s", subprotocol_message(offered, self._subprotocols, self.auth_token))
                return Refusal(outcome.status)
            subprotocol, token = outcome.chosen, outcome.auth_token
        try:
            return Visitor(params, self._info(request, params, token), subprotocol)
        except Exception:  # the application's session function runs here
            logger.exception("connect_info of %s raised", self.host.name)
            return SERVER_ERROR

    async def admit(self, transport: str, visitor: Visitor) -> Refusal | Handler:
        """Ask the application."""
        try:
            handler = await self.host.connect(transport, visitor.params, visitor.info)
            return STOPPING if self.is_draining else handler
        except VersionError as error:
            logger.warning("%s", error)
            return Refusal(403)
        except ConnectError as error:
            return self._refuse(error.reason)
        except (
            Exception,
            asyncio.CancelledError,
        ):  # whatever the application raises refuses this client and nothing else
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            logger.exception("connect of %s raised", self.host.name)
            return SERVER_ERROR

    def _refuse(self, reason: Any) -> Refusal:
        if self._error_handler is None:
            return Refusal(403)
        try:
            status, body, *headers = self._error_handler(reason)
            pairs = tuple((k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in (headers or [{}])[0].items())
            return Refusal(status, body.encode() if isinstance(body, str) else body, pairs)
        except Exception:  # a broken error handler still refuses
            logger.exception("error_handler of %s raised", self.host.name)
            return SERVER_ERROR


SERVER_ERROR = Refusal(500, b"Internal Server Error")
STOPPING = Refusal(503)
