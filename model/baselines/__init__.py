"""The specialists to beat."""
