"""Curvature of the loss: layers and their geometry, what enters and leaves them, and the sums."""
