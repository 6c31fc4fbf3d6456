"""Retrieval of candidates from the whole catalogue: exact, approximate, lexical."""
