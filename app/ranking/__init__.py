"""One ranking, from the context to a page."""
