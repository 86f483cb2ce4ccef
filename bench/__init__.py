"""Programs that put load on the real bootstrap: a mock Runtime API and a fast app in C, and what is run with them."""
