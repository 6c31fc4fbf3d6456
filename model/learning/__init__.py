"""Training: sampling of examples, the training loop and its losses, calibration of the scores."""
