"""`broadwing connect` in scripts: join, push, wait, end with a code that says how it went."""

import asyncio
from collections import Counter
from collections.abc import Callable

from broadwing.console.records import Record, as_json, as_text
from broadwing.console.session import Session
from broadwing.console.settings import Exit, Settings


async def run_script(settings: Settings, write: Callable[[str], None]) -> Exit:
    """Do what the command line says.

    Args:
        settings: The command line.
        write: Gets a line for all that happens.
    """
    wanted = Counter(settings.wait)
    over = asyncio.Event()
    code = Exit.OK

    def end(how: Exit) -> None:
        nonlocal code
        code = how if code is Exit.OK else code
        over.set()

    def tell(record: Record) -> None:
        write(as_json(record) if settings.as_json else as_text(record))
        if record.kind == "message" and wanted[record.fields["event"]] > 0:
            wanted[record.fields["event"]] -= 1
            if not wanted.total() and not settings.follow:
                over.set()
        elif record.kind == "closed":
            end(Exit.CLOSED)

    session = Session(settings, tell)
    push: asyncio.Task[None] | None = None
    try:
        if (opened := await session.open()) is not Exit.OK:
            return opened
        if (joined := await session.join(settings.topic, settings.join)) is not Exit.OK:
            return joined
        if settings.push is not None:
            push = asyncio.create_task(_push(session, settings, end), name="broadwing console: push")
        if settings.wait or settings.follow:
            async with asyncio.timeout(None if settings.follow else settings.timeout):
                await over.wait()
        elif push is not None:
            await push
        return code
    except TimeoutError:
        missing = ", ".join((+wanted).elements())
        tell(
            Record(
                "failed", {"topic": settings.topic, "reason": f"{missing} did not come within {settings.timeout:g} s"}
            )
        )
        return Exit.TIMEOUT
    finally:
        if push is not None:
            push.cancel()
            await asyncio.gather(push, return_exceptions=True)
        await session.close()


async def _push(session: Session, settings: Settings, end: Callable[[Exit], None]) -> None:
    assert settings.push is not None
    event, payload = settings.push
    waits = bool(settings.wait or settings.follow)
    how = await session.push(settings.topic, event, payload, quiet_timeout=waits)
    if how is not Exit.OK and not (
        waits and how is Exit.TIMEOUT
    ):  # many events have no reply; the wait has its own time
        end(how)
