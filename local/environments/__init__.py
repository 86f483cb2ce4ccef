"""Functions in their sandboxes, as Lambda's execution environments: one, and several side by side."""
