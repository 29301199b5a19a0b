"""Predicted orientations compared with the true ones."""
