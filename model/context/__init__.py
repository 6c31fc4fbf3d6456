"""What a ranking is for: the context, and the rules that fill its gaps."""
