"""The layer in container images, under a real engine."""
