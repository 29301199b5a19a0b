"""Specimens under the beam: crystals, their images and potentials, and the files that hold them."""
