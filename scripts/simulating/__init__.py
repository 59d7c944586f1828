"""A year of nightly syncs over made-up threads: what choosing whom to ask costs."""
