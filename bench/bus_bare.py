"""What a bus is measured beside: the client libraries by themselves, as quick as their documentation makes them.

No reconnecting, no confirmation, no batches of one's own: messages are handed to the library one by one, or in the pipelines
that it has.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import uvloop
import zmq

from bench.figures import Figures
from bench.lines import PATIENCE, LoadError
from bench.stream import Plan, Receiver, Sender, message

# How often a receiver that blocks looks whether the sender is through, in milliseconds.
LOOK: Final = 100

End = Callable[[socket.socket, str, list[str], Plan], Figures]
"""Takes the socket to the other end, the URL, the topics and how messages are sent."""


def send_zmq(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """PUSH, which waits when there is no room; with several topics XPUB, which is PUB and tells of subscriptions."""
    with zmq.Context() as context, context.socket(zmq.PUSH if len(topics) == 1 else zmq.XPUB) as way:
        sender = Sender(beside, plan.together)
        if len(topics) == 1:
            way.connect(url)
            return sender.send_blocking(way.send, plan.seconds)
        way.sndhwm = 0  # it would drop what has no room; the receiver's word bounds it
        way.rcvtimeo = round(PATIENCE * 1000)
        way.connect(url)
        for _ in topics:
            way.recv()  # a subscription
        names, count, send = [topic.encode() for topic in topics], len(topics), way.send_multipart

        async def burst(numbers: range) -> None:
            for number in numbers:
                send((names[number % count], message(number)))

        return asyncio.run(sender.send(burst, plan.seconds))


def receive_zmq(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """PULL, or SUB."""
    is_one = len(topics) == 1
    receiver = Receiver(beside, plan.warm_up, is_told=not is_one)
    with zmq.Context() as context, context.socket(zmq.PULL if is_one else zmq.SUB) as way:
        way.rcvtimeo = LOOK
        if not is_one:
            way.rcvhwm = 0
            for topic in topics:
                way.subscribe(topic)
        way.bind(url)
        receiver.ready()
        receive, receive_both, take = way.recv, way.recv_multipart, receiver.take
        while True:
            try:
                take(receive() if is_one else receive_both()[1])
            except zmq.Again:
                total = receiver.told()
                if total is not None:
                    return receiver.figures(total)


def send_redis(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """redis-py with a pipeline for each burst; not its asyncio client, which is slower."""
    import redis

    count = len(topics)
    with redis.Redis.from_url(url) as client:

        async def burst(numbers: range) -> None:
            pipeline = client.pipeline(transaction=False)
            for number in numbers:
                pipeline.publish(topics[number % count], message(number))
            pipeline.execute()

        return asyncio.run(Sender(beside, plan.together).send(burst, plan.seconds))


def receive_redis(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """redis-py's PubSub with its hiredis parser."""
    import redis

    receiver = Receiver(beside, plan.warm_up, is_ordered=len(topics) == 1)
    with redis.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(*topics)
        for _ in topics:
            pubsub.get_message(timeout=5)
        receiver.ready()
        while True:
            got: Any = pubsub.get_message(timeout=LOOK / 1000)
            if got is not None:
                receiver.take(got["data"])
                continue
            total = receiver.told()
            if total is not None:
                return receiver.figures(total)


def send_nats(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """nats-py."""
    import nats

    async def main() -> Figures:
        client = await nats.connect(url)
        count, publish = len(topics), client.publish

        async def burst(numbers: range) -> None:
            for number in numbers:
                await publish(topics[number % count], message(number))
            await asyncio.sleep(0)  # its task that writes has a turn

        try:
            return await Sender(beside, plan.together).send(burst, plan.seconds)
        finally:
            await client.close()

    return uvloop.run(main())


def receive_nats(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """nats-py, with a callback."""
    import nats

    async def main() -> Figures:
        receiver = Receiver(beside, plan.warm_up, is_ordered=len(topics) == 1)

        async def take(got: Any) -> None:
            receiver.take(got.data)

        client = await nats.connect(url)
        try:
            for topic in topics:
                await client.subscribe(topic, cb=take)
            await client.flush()
            receiver.ready()
            return await receiver.until_told()
        finally:
            await client.close()

    return uvloop.run(main())


BARE: Final[dict[str, dict[str, End]]] = {
    "zmq": {"send": send_zmq, "receive": receive_zmq},
    "redis": {"send": send_redis, "receive": receive_redis},
    "nats": {"send": send_nats, "receive": receive_nats},
}


def bare(role: str, beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """Be one end by the library that the URL means.

    Raises:
        LoadError: Something was lost.
    """
    scheme = url.partition("://")[0]
    if scheme == "zmq+ipc":
        scheme, url = "zmq", url.removeprefix("zmq+") + "/bare"
    if scheme not in BARE:
        raise LoadError(f"{scheme}:// has no bare client here; accepted are {', '.join(BARE)}")
    return BARE[scheme][role](beside, url, topics, plan)
