"""4D-STEM patterns to phase images by a network trained on photographs, stitched."""
