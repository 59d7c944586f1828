"""Writes the documents that say what the database says: dictionary, dbt, queries."""
