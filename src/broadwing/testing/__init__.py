"""Equipment for tests: of applications with channels, and of adapters (`broadwing.testing.adapter_contract`)."""

from broadwing.testing.channel_test import ChannelTest
from broadwing.testing.client import ClientChannel, ClientSocket
from broadwing.testing.clock import Deadlock, VirtualClock
from broadwing.testing.inbox import Received
from broadwing.testing.patterns import ANY, Capture, Difference, Exactly, differences
from broadwing.testing.plain import PlainChannel, PlainChannelTest, PlainSocket, channel_test

__all__ = [
    "ANY",
    "Capture",
    "ChannelTest",
    "ClientChannel",
    "ClientSocket",
    "Deadlock",
    "Difference",
    "Exactly",
    "PlainChannel",
    "PlainChannelTest",
    "PlainSocket",
    "Received",
    "VirtualClock",
    "channel_test",
    "differences",
]
