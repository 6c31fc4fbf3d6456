"""The same model behind other servers. Each file runs as a separate process, in an environment of its own."""
