"""A small API server with a made-up world of threads; it needs no other package."""
