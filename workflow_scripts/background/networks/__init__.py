"""The networks, the diffusion that they learn, and what trains them."""
