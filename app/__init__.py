"""The service: HTTP, settings, caches, metrics and the command line."""
