"""Web mode: an app that is a process of its own, from its start to what becomes of its answers."""
