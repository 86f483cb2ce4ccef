"""An app whose strings are pulled by the test: each connection it accepts is handed over, the descriptor itself.

So the test reads every byte that comes and chooses every byte that goes, and there is no protocol between the two.
``PUPPET_CONTROL`` is the path of the Unix socket on which the test waits for descriptors (``tests/fuzz/app_side.py``).
"""

from __future__ import annotations

import _socket
import os

listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(os.environ["PORT"])))
control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
control.connect(os.environ["PUPPET_CONTROL"])
listener.listen(64)
while True:
    descriptor, _ = listener._accept()
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, "little"))
    control.sendmsg([b"."], [rights])
    os.close(descriptor)
