"""The HTTP server for the browser, and what it says to the developer."""
