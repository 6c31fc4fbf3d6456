"""Training: what is drawn, what is learnt from it, and how the scores are calibrated."""
