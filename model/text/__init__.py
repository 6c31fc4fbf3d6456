"""Text: normalisation, tokens, the vocabulary, and text vectors learned from the catalogue."""
