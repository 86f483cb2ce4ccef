"""The developer's machine only: emulator, sandbox, gateway. Nothing here reaches the layer."""
