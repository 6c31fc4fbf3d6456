"""The same model behind other servers. Each file runs as a process of its own, in an environment of its own."""
