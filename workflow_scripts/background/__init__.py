"""X-ray nano-CT tiles without their background: a conditional diffusion model of the flat field."""
