"""Handlers in JavaScript and TypeScript: which they are, and the host that runs them."""
