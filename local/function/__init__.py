"""Functions in their sandboxes: one, and several side by side."""
