"""Cannot be imported; what it has registered is run all the same."""

import atexit

from reach import look

atexit.register(look, "atexit after a failed start")
raise RuntimeError("this module cannot be imported")
