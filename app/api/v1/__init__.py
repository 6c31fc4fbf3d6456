"""One small file per surface, and the bodies of requests and answers."""
