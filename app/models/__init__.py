"""Floor 3: model folders, and how one of them gets to serve."""
