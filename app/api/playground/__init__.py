"""The demonstration page at `/`."""
