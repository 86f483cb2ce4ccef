"""Hooks that look below themselves."""

from reach import look

look("import of the hooks")


def on_request(request):
    look("on_request", request)


def on_response(request, response):
    look("on_response", request, response)
    if request.target == "/fails":
        raise RuntimeError("a hook fails")
