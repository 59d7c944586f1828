"""Keeps the run history of Assistants-style threads in Postgres."""

import logging

# Who sets up no logs, as a program that imports this, sees none.
logging.getLogger(__name__).addHandler(logging.NullHandler())
