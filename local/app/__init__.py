"""The developer's app: what its files say, what is installed and built for it, and whether it would run on Lambda."""
