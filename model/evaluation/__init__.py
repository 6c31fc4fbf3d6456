"""How good rankings are: metrics, protocols and reports."""
