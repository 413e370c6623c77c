"""An application on the bus of the environment that finds out soon when it does not hear."""

from broadwing import PubSub
from tests.support.workers_app import WorkersSocket
from tests.support.workers_app import endpoint as plain

endpoint = type(plain)(pubsub=PubSub(canary_interval=0.05, canary_timeout=0.3), check_origin=False)
endpoint.socket("/socket", WorkersSocket)
