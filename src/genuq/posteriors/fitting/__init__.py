"""Fitting a posterior: passes over the data, held-out images, the choice of the scale."""
