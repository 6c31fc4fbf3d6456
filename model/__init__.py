"""The model: data, imputation, network, learning, retrieval. Knows nothing of HTTP, Redis or metrics."""
