"""The registry of model folders, the loaded models, the serving state, and the follower of the registry."""
