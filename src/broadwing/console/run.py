"""Runs `broadwing connect`, one way or the other."""

import asyncio
from contextlib import suppress

from broadwing.console.script import run_script
from broadwing.console.settings import Exit, Settings


def run(settings: Settings, *, by_hand: bool) -> int:
    """Run until the end; returns the exit code.

    Args:
        settings: The command line.
        by_hand: Whether there is a person to prompt.
    """
    with suppress(KeyboardInterrupt):
        return asyncio.run(_run(settings, by_hand=by_hand))
    return Exit.OK if settings.follow else Exit.INTERRUPTED


async def _run(settings: Settings, *, by_hand: bool) -> Exit:
    if by_hand:
        from broadwing.console.prompt import Console  # prompt_toolkit is needed by people only

        return await Console(settings).run()
    return await run_script(settings, lambda line: print(line, flush=True))
