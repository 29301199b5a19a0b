"""From patterns to patches of phase by a network, and from overlapping patches to one image."""
