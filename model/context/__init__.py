"""The context of a ranking request, and the imputation rules for its missing fields."""
