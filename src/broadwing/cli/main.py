"""The command `broadwing`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from broadwing.cli.connect import EPILOG, connect
from broadwing.serving import serve as run
from broadwing.serving_worker import is_worker, serve_worker
from broadwing.supervisor import supervise
from broadwing.types import BUS_VARIABLE

app = typer.Typer(
    help="Phoenix Channels for Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main() -> None:
    """Phoenix Channels for Python: topics, channels and broadcasts over WebSocket and long polling."""


@app.command(
    epilog="Examples:  broadwing serve chat:endpoint   |   broadwing serve chat:endpoint --host 0.0.0.0 --port 8000"
)
def serve(
    application: Annotated[str, typer.Argument(metavar="APP", help="What to serve, as module:attribute.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 chooses a free one.")] = 4000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes behind the port, joined by a bus of their own.")] = 1,
    bus: Annotated[
        str | None, typer.Option(help="URL of the bus to join, so that others can; also BROADWING_BUS.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning, error or critical.")] = "info",
    ssl_certfile: Annotated[Path | None, typer.Option(help="Certificate chain, for https.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
) -> None:
    """Serve an endpoint, or any ASGI application, until SIGTERM or Ctrl-C; a second one ends at once."""
    if ":" not in application:
        raise typer.BadParameter(f"{application!r} names no attribute; write module:attribute, e.g. chat:endpoint")
    sys.path.insert(0, str(Path.cwd()))
    if bus is not None:
        os.environ[BUS_VARIABLE] = bus  # of the workers too; an endpoint that names a bus of its own keeps that
    options = {
        "log_level": log_level,
        "ssl_certfile": str(ssl_certfile) if ssl_certfile else None,
        "ssl_keyfile": str(ssl_keyfile) if ssl_keyfile else None,
    }

    def announce(address: str) -> None:
        processes = f" with {workers} workers" if workers > 1 else ""
        print(f"Broadwing serves {application} on {address}{processes}", flush=True)

    if is_worker():
        code = serve_worker(application, **options)
    elif workers > 1:
        scheme = "https" if ssl_certfile else "http"
        command = [sys.executable, "-m", "broadwing", *sys.argv[1:]]
        code = supervise(
            command, workers=workers, host=host, port=port, announce=lambda h, p: announce(f"{scheme}://{h}:{p}")
        )
    else:
        code = run(application, host=host, port=port, announce=announce, **options)
    raise typer.Exit(code)


app.command(epilog=EPILOG)(connect)
