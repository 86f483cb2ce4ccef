"""What the translation has to know beside the event and its invocation."""

from __future__ import annotations

from ..values import NamedTuple


class EnvironmentConfig(NamedTuple):
    """The function as its environment describes it: AWS_LAMBDA_FUNCTION_NAME and its relatives, "" when not set."""

    function_name: str = ""
    memory: str = ""  # MB
    version: str = ""
    log_group: str = ""
    log_stream: str = ""


class EventOptions(NamedTuple):
    """How events are translated; the same for every invocation."""

    events_path: str = "/events"  # where triggers are posted to
    context_headers: bool = True  # whether the app gets the two context headers, which can be many kilobytes
    environment: EnvironmentConfig = EnvironmentConfig()
    base_path: str = ""  # "/api": whole segments that the app does not see in front of its paths
    authorization_source: str = ""  # a field name in lower case: what it holds is the app's Authorization
    host: str = "localhost"  # of a request that comes from no client, or whose event names no host
    builds_url: bool = False  # whether the app makes a URL of Host and target, which then have to fit into one
