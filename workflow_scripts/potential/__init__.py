"""Segmented STEM images to the projected electrostatic potential of a crystal."""
