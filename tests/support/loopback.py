"""Addresses of this run alone, so that no other run on the machine can be taken for it, nor its clients for ours.

A port that the system hands out is handed out again once it is free. Clients of another run that look for their own server,
which has gone, would then find ours, and a drain would count them. The whole net 127.0.0.0/8 is the loopback's, so each
process of tests takes a piece of its own. Clients keep coming from 127.0.0.1: the source of a connection is the system's choice.
"""

import atexit
import contextlib
import random
import socket
import sys
from collections import deque

_chance = random.SystemRandom()  # not `random`, which pytest and hypothesis seed

NET = f"127.{_chance.randrange(1, 255)}.{_chance.randrange(1, 255)}" if sys.platform == "linux" else "127.0.0"
"""The first three numbers of this process's addresses; elsewhere than on Linux only 127.0.0.1 is there without an administrator."""

HOST = f"{NET}.1"
"""Where servers of tests listen."""

# As many as can be on their way to a server that has not begun to listen.
_held: deque[socket.socket] = deque()


def free_port() -> int:
    """A port for a server that cannot choose one itself: nobody listens on it, and nobody will be given it.

    Below the range that the system takes ports of outgoing connections from: a client that looks for a server that is down
    would sooner or later be given the server's own port, be connected to itself, and keep the server from coming back. A UDP
    socket holds the number for a while, so that no other run of these tests takes it before the server listens.
    """
    for _ in range(1_000):
        port = _chance.randrange(20_000, 32_000)
        hold = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            hold.bind(("0.0.0.0", port))
            for host in ("0.0.0.0", "127.0.0.1"):
                with contextlib.closing(socket.socket()) as probe:
                    probe.bind((host, port))
        except OSError:
            hold.close()
            continue
        _held.append(hold)
        if len(_held) > 100:
            _held.popleft().close()
        return port
    raise AssertionError("no free port between 20000 and 32000")


@atexit.register
def _let_go() -> None:
    for hold in _held:
        hold.close()
