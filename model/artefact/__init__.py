"""A trained model: building, checking, writing and loading its folder."""
