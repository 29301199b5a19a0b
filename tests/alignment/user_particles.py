"""Particles as a user might have them: a stack of blobs at known poses, dark or bright, and lists that name it."""

import numpy as np
import torch

from tests.alignment import blobs
from workflow_scripts.alignment.apply.settings import Apply
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.formats.particles import CtfParameters, write_star, write_xmd
from workflow_scripts.optics.ctf import ctf
from workflow_scripts.workflow.settings import check

PIXEL_A = 2.5


def entry(particles, **changes):
    """The checked settings of these particles."""
    return check(Apply, {"particles": str(particles)} | changes)


def write_stack(path, images, pixel_size_a=PIXEL_A):
    with StackWriter(path, images.shape[-1], pixel_size_a) as writer:
        writer.write(np.asarray(images))
    return path


def stack(folder, n=64, count=60, snr=0.5, seed=1, dark=True):
    """A stack file with its true angles (N,) and shifts (N, 2)."""
    angle, shift = blobs.poses(count, seed)
    images = blobs.stack(n, angle, shift, snr, seed + 1)
    return write_stack(folder / "own.mrcs", -images if dark else images), angle.numpy(), shift.numpy()


def ctf_parameters(count, defocus_a):
    numbers = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1, "defocus_angle_deg": 0.0}
    zeros = {"b_factor_a2": 0.0, "phase_shift_deg": 0.0}
    constant = {name: np.full(count, value) for name, value in (numbers | zeros).items()}
    return CtfParameters(defocus_u_a=np.array(defocus_a), defocus_v_a=np.array(defocus_a), **constant)


def with_ctf(images, defocus_a):
    """Images (N, n, n) as the microscope shows them."""
    numbers = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1}
    transfer = ctf(images.shape[-1], PIXEL_A, torch.as_tensor(defocus_a), **numbers)
    return torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[1:])


def write_list(path, count, defocus_a=None, stack_name="own.mrcs", carried=None):
    """A .star or .xmd that lists the images of a stack beside it."""
    names = [f"{k + 1:06d}@{stack_name}" for k in range(count)]
    nothing = np.zeros(count), np.zeros((count, 2))
    parameters = None if defocus_a is None else ctf_parameters(count, defocus_a)
    if path.suffix == ".star":
        write_star(path, names, *nothing, box_px=64, pixel_size_a=PIXEL_A, ctf=parameters, carried=carried)
    else:
        write_xmd(path, names, *nothing, ctf=parameters)
    return path
