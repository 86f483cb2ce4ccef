"""A handler that takes no time to import: what is left of a cold start is the runtime's."""


def handler(event: object, context: object) -> None:
    """Nothing."""
