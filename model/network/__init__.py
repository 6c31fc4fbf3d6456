"""The one shared ranking network."""
