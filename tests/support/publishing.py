"""Programs that serve nobody and publish: `python -m tests.support.publishing URL WAY` says numbers to room:1.

Each way says 1 to 5, as event "said" with {"n": number}, from different places; what it prints is for the test.
"""

import asyncio
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable

from broadwing import Publisher, PubSub

TOPIC, EVENT = "room:1", "said"
NUMBERS = [1, 2, 3, 4, 5]


def say(publisher: Publisher, *numbers: int) -> None:
    """Publish."""
    for number in numbers:
        publisher.broadcast(TOPIC, EVENT, {"n": number})


def forked(work: Callable[[], None]) -> None:
    """Do something in a child, which then ends as Python programs do."""
    if os.fork() == 0:
        work()
        sys.exit(0)


def reap(count: int) -> None:
    """Wait for children."""
    for _ in range(count):
        assert os.wait()[1] == 0


def script(publisher: Publisher) -> None:
    """One program that publishes and ends."""
    say(publisher, *NUMBERS)


def thread(publisher: Publisher) -> None:
    """A thread for each message."""
    threads = [threading.Thread(target=say, args=(publisher, number)) for number in NUMBERS]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def fork_before(publisher: Publisher) -> None:
    """As gunicorn and Celery do it: made in the parent, used in the children."""
    for number in NUMBERS:
        forked(lambda number=number: say(publisher, number))  # type: ignore[misc]
    reap(len(NUMBERS))


def fork_after(publisher: Publisher) -> None:
    """The parent is connected and has something waiting when it forks, and goes on."""
    say(publisher, 1)
    publisher.flush(20)
    say(publisher, 2)
    forked(lambda: say(publisher, 3))
    say(publisher, 4)
    reap(1)
    forked(lambda: say(publisher, 5))
    reap(1)


def child(publisher: Publisher) -> None:
    """Children of `multiprocessing`, which do not end as other programs do."""
    context = multiprocessing.get_context("fork")
    for number in NUMBERS:
        process = context.Process(target=say, args=(publisher, number))
        process.start()
        process.join()
        assert process.exitcode == 0


def coroutine(publisher: Publisher) -> None:
    """In an event loop of the program's own."""

    async def main() -> None:
        say(publisher, *NUMBERS)
        await publisher.aflush()
        await publisher.aclose()

    asyncio.run(main())


def pubsub(publisher: Publisher) -> None:
    """With a PubSub, for programs that have a loop anyway."""

    async def main() -> None:
        async with PubSub(sys.argv[1]) as node:
            for number in NUMBERS:
                node.broadcast(TOPIC, EVENT, {"n": number})

    asyncio.run(main())


def end(publisher: Publisher) -> None:
    """Say that there is no more."""
    say(publisher, 0)


WAYS = {way.__name__: way for way in (script, thread, fork_before, fork_after, child, coroutine, pubsub)}

if __name__ == "__main__":
    publisher = Publisher(sys.argv[1])
    {**WAYS, "end": end}[sys.argv[2]](publisher)
