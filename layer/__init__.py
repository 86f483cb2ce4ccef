"""What a layer is made of, and how it is put together."""
