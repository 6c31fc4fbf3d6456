"""Models: the registry of their folders, what is loaded, what is live, and how a worker follows."""
