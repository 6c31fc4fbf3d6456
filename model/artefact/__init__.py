"""One trained model: its folder, how it is built, checked and loaded."""
