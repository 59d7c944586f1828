"""Runs into Postgres: tables, statements, copy, store, threads, embedded Postgres."""
