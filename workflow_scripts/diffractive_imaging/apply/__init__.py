"""The scans of the user: checked, reconstructed, and written in the formats of other programs."""
