"""One small file a surface: parse, call, return."""
