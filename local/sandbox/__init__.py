"""A sandbox like Lambda's on this machine: its root directory, its mounts, its limits."""
