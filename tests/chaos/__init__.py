"""Apps of all sorts under random kills and stops: what is acknowledged was done, once, and says what was asked."""
