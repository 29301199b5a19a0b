"""Calculated and observed diffraction patterns of a crystal, and the files that hold them."""
