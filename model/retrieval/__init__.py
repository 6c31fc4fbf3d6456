"""Proposing candidates from the whole catalogue."""
