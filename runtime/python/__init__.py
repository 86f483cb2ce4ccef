"""Handler mode: the user's Python in this very process, as a function, or as a WSGI or ASGI app."""
