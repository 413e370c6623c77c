"""Which adapter a URL means."""

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.local import LocalAdapter


def adapter_for(url: str, *, node_name: str | None = None) -> Adapter:
    """Make the adapter that a URL names.

    Args:
        url: `local://`: this process alone.
        node_name: This node's name on the bus; by default a random one.

    Raises:
        ConfigurationError: The URL names no adapter.
    """
    scheme = url.partition("://")[0]
    if scheme == "local":
        return LocalAdapter(node_name)
    raise ConfigurationError(f"pubsub={url!r} names no adapter; accepted is local:// (this process alone)")
