"""What the kernel knows of one listener; its counters in /proc/net/netstat are those of everybody on the machine."""

import socket
import struct
import sys

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/sock_diag.h (SK_MEMINFO_DROPS), net/tcp_states.h.
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLM_F_DUMP, NLMSG_DONE = 4, 20, 1, 0x300, 3
INET_DIAG_SKMEMINFO, SK_MEMINFO_DROPS, TCP_LISTEN = 7, 8, 10
_HEAD = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI48s")  # family, protocol, extensions, states, the socket: any
_ANSWER = struct.Struct("=4B2s2s16s16s4x8x20x")  # struct inet_diag_msg
_ATTRIBUTE = struct.Struct("=HH")


def refused(host: str, port: int) -> int | None:
    """How many connections the listener at `host:port` had no room for; `None` where the system cannot tell."""
    if sys.platform != "linux":
        return None
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << INET_DIAG_SKMEMINFO - 1, 1 << TCP_LISTEN, b"")
    head = _HEAD.pack(_HEAD.size + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    wanted = (struct.pack("!H", port), socket.inet_aton(host))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as line:
        line.send(head + question)
        while True:
            data = line.recv(1 << 20)
            while data:
                length, kind, *_ = _HEAD.unpack_from(data)
                assert kind in (SOCK_DIAG_BY_FAMILY, NLMSG_DONE), kind
                assert kind != NLMSG_DONE, f"nobody listens at {host}:{port}"
                message, data = data[_HEAD.size : length], data[length + 3 & ~3 :]
                *_, source_port, _, source, _ = _ANSWER.unpack_from(message)
                if (source_port, source[:4]) == wanted:
                    return _drops(message[_ANSWER.size :])


def _drops(attributes: bytes) -> int:
    while attributes:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == INET_DIAG_SKMEMINFO:
            return int(struct.unpack_from("=9I", attributes, _ATTRIBUTE.size)[SK_MEMINFO_DROPS])
        attributes = attributes[length + 3 & ~3 :]
    raise AssertionError("the kernel told nothing of the listener's memory")
