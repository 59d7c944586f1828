"""Keeps the run history of Assistants-style threads in Postgres."""
