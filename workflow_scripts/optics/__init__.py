"""Electron and X-ray optics: pure functions of tensors that import nothing of the project."""
