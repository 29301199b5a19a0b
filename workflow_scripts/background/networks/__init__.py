"""The networks, the diffusion that they learn, and their training."""
