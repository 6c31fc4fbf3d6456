"""Datasets as folders: reading, checking, writing, importing and simulating them."""
