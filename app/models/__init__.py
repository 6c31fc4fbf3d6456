"""Model folders, and how one of them gets to serve."""
