"""Particles, the microscope, noisy stacks whose poses are known, and the files that hold them."""
