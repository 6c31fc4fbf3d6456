"""Faults made for real, and a table of what they cost: `make chaos`."""
