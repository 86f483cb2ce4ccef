"""An app on a Unix socket: answers every request with its path. It does not remove a socket that is in its way."""

import os
import socket

listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ["FAIRLEAD_UNIX_SOCKET"])
listener.listen(8)
while True:
    client, _ = listener.accept()
    while request := client.recv(65536):
        body = request.split(b" ")[1]
        client.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
    client.close()
