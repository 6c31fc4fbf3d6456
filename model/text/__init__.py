"""Words: folding, tokens, the vocabulary and the latent vectors of a catalogue's own texts."""
