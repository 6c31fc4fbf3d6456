"""The forward pass of the network, folded for serving. Gives the same logits."""
