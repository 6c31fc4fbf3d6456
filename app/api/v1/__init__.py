"""One small file a surface, and the bodies that they take and give."""
