"""Watching a run from outside: CSV files and Weights & Biases."""
