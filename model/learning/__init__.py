"""Floor 2: training, evaluation and the artefact on disk."""
