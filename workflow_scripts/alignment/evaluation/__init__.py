"""Errors of poses, quality of class averages, and the images of the figure."""
