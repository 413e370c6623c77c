"""The command `broadwing connect`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from broadwing.exceptions import BroadwingError

EPILOG = """Examples:\n
broadwing connect ws://localhost:4000/socket room:lobby\n
broadwing connect wss://example.com/socket room:1 --param user_id=7 --join '{"last_seen": 3}'\n
broadwing connect ws://localhost:4000/socket room:lobby --push echo '{"n": 1}' --json\n
broadwing connect ws://localhost:4000/socket room:lobby --push new_msg '{"body": "hi"}' --wait new_msg --json\n
broadwing connect ws://localhost:4000/socket room:lobby --follow --json | jq .payload\n
Exit codes: 0 done; 2 the command line cannot be understood; 3 no connection; 4 the join was refused; 5 the push was answered with
another status than ok; 6 not in time; 7 closed by the server; 130 interrupted.
"""


def connect(
    url: Annotated[str, typer.Argument(metavar="URL", help="The socket's mount, e.g. ws://localhost:4000/socket.")],
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic to join.")],
    push: Annotated[
        tuple[str, str] | None, typer.Option(metavar="EVENT JSON", help="Push this, show the reply, and end.")
    ] = None,
    wait: Annotated[
        list[str] | None, typer.Option(metavar="EVENT", help="End when this event has come; may be repeated.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Print what comes until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    join: Annotated[str | None, typer.Option(metavar="JSON", help="Payload of the join.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Connect parameter; may be repeated.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="BROADWING_TOKEN", help="Auth token, which travels outside of the URL.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for connecting, each answer, and --wait.")] = 10.0,
    longpoll: Annotated[bool, typer.Option("--longpoll", help="Poll instead of opening a WebSocket.")] = False,
    vsn: Annotated[str, typer.Option(help="Wire version, 2.0.0 or 1.0.0.")] = "2.0.0",
    history: Annotated[
        Path | None, typer.Option(help="File that remembers what was typed; by default in the folder for such.")
    ] = None,
) -> None:
    """Join a topic, push and see what comes: by hand at a prompt, or in a script with --push, --wait or --follow."""
    try:
        from broadwing.console.lines import BadLine, read_payload
        from broadwing.console.run import run
        from broadwing.console.settings import Settings
    except ImportError as error:
        raise typer.BadParameter(f'{error}; `pip install "broadwing[cli]"` brings what this command needs') from error

    def payload(text: str, where: str) -> Any:
        try:
            return read_payload(text)
        except BadLine as error:
            raise typer.BadParameter(f"{where}: {error}") from error

    by_hand = not (push or wait or follow)
    if by_hand and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter("there is no terminal to prompt at; in scripts use --push, --wait or --follow")
    settings = Settings(
        url=url,
        topic=topic,
        join=None if join is None else payload(join, "--join"),
        params=dict(_pair(text) for text in param or ()),
        token=token,
        vsn=vsn,
        transport="longpoll" if longpoll else "websocket",
        timeout=timeout,
        push=None if push is None else (push[0], payload(push[1], "--push")),
        wait=tuple(wait or ()),
        follow=follow,
        as_json=as_json,
        history=history or _history(),
    )
    try:
        code = run(settings, by_hand=by_hand)
    except ImportError as error:
        raise typer.BadParameter(f'{error}; `pip install "broadwing[cli]"` brings what this command needs') from error
    except BroadwingError as error:  # a URL or a version that means nothing, a payload that cannot be sent
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(code)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--param {text!r}: write NAME=VALUE")
    return name, value


def _history() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "broadwing" / "connect_history"
