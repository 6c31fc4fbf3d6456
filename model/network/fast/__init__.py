"""The same pass of the network, folded, for serving."""
