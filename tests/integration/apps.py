"""Small apps that the integration tests write into a task folder."""

from __future__ import annotations

from pathlib import Path

# By the layer's Python, or where there is no sandbox by this machine's.
PYTHON = '"$(command -v /opt/fairlead/bin/python3 || command -v python3)"'
COMMAND = f'exec {PYTHON} "$LAMBDA_TASK_ROOT/app.py"'
# A process that leaves its session, and so every process group that somebody might kill.
DETACHED = f"""{PYTHON} -c 'import os; os.setsid(); os.execlp("sleep", "sleep", "600")' >/dev/null 2>&1 &"""

# Runs the shell command that an event is, and answers with what it wrote; ticks in the background; says goodbye.
SHELL_APP = """
import json, os, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

gap, connections = 0.0, 0

def tick():
    global gap
    last = time.monotonic()
    while True:
        time.sleep(0.005)
        gap, last = max(gap, time.monotonic() - last), time.monotonic()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = float(os.environ.get("IDLE_S", "600"))
    disable_nagle_algorithm = True

    def setup(self):
        global connections
        connections += 1
        super().setup()

    def do_GET(self):
        self.answer(b"ready")

    def do_POST(self):
        command = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if command == "state":
            time.sleep(0.02)
            answer = {"gap": gap, "connections": connections, "pid": os.getpid()}
        else:
            answer = subprocess.run(command, shell=True, stdout=-1, stderr=-2, text=True).stdout.rstrip()
        self.answer(json.dumps(answer).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

def goodbye(*arguments):
    print("goodbye", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, goodbye)
threading.Thread(target=tick, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def shell_app(folder: Path) -> Path:
    """``folder`` with the app in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(SHELL_APP)
    (folder / "file").write_text("the app's own")
    return folder
