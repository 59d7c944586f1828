"""What models cost: listed, set, taken from files, and what a change of it would mean."""
