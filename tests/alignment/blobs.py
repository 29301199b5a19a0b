"""Small particles of Gaussian blobs whose rotated and shifted images are known in closed form, and noisy stacks."""

import math

import numpy as np
import torch

# y, x, width in pixels of a box of 64, weight: no symmetry at all, and not that of half a turn.
ASYMMETRIC = ((5, 12, 2.0, 1.0), (-9, 4, 3.0, 0.7), (2, -11, 2.5, 0.6), (-4, -3, 2.0, 0.9), (11, -6, 2.2, 0.4))


def image(n, angle_deg=0.0, shift_px=(0.0, 0.0), blobs=ASYMMETRIC):
    """(n, n): blobs rotated by +angle from +x towards +y, then shifted [y, x]."""
    angle = math.radians(angle_deg)
    y, x = torch.meshgrid(*(torch.arange(n) - n // 2 - shift for shift in shift_px), indexing="ij")
    total = torch.zeros(n, n)
    for blob_y, blob_x, width, weight in blobs:
        at_y = math.sin(angle) * blob_x + math.cos(angle) * blob_y
        at_x = math.cos(angle) * blob_x - math.sin(angle) * blob_y
        total += weight * torch.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * width**2))
    return total


def symmetric(order):
    """Blobs with an n-fold axis and no mirror line."""
    around = []
    for k in range(order):
        for radius, angle, width, weight in ((12, 0.0, 2.0, 1.0), (17, 0.35, 1.6, 0.6)):
            theta = angle + 2 * math.pi * k / order
            around.append((radius * math.sin(theta), radius * math.cos(theta), width, weight))
    return tuple(around)


def poses(count, seed, shift_limit=5):
    """Angles (N,) over the circle and whole shifts (N, 2)."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(count, generator=generator) * 360
    return angle, torch.randint(-shift_limit, shift_limit + 1, (count, 2), generator=generator).float()


def stack(n, angle, shift_px, snr, seed, blobs=ASYMMETRIC):
    """(N, n, n) of images at these poses with white noise, SNR = variance of the clean image / of the noise."""
    pairs = zip(angle.tolist(), shift_px.tolist(), strict=True)
    clean = torch.stack([image(n, a, s, blobs) for a, s in pairs])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return clean + noise * (clean.var(dim=(1, 2), keepdim=True) / snr).sqrt()


def in_plane(angle_deg):
    """(3, 3), acting on [z, y, x]: the rotation about the beam that turns +x towards +y."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
