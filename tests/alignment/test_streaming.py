"""A stack in batches is aligned as one in memory, and noise shows no more than noise."""

import numpy as np
import torch

from tests.alignment import blobs
from workflow_scripts.alignment.apply import streaming
from workflow_scripts.alignment.apply.alignment import cross_scores
from workflow_scripts.alignment.apply.data import disc, random_phases
from workflow_scripts.alignment.apply.streaming import AlignmentOptions, Template, align_streamed, compare
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.branch import Poses
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, rotated_rows
from workflow_scripts.alignment.simulation.geometry import align

N = 48


class InMemory:
    """Images in reach; remembers the largest batch that was asked for."""

    def __init__(self, images):
        spread = images.std(dim=(1, 2), keepdim=True)
        self.images = (images - images.mean(dim=(1, 2), keepdim=True)) / spread
        self.largest = 0

    def __len__(self):
        return len(self.images)

    def read(self, indices, scrambled=None):
        self.largest = max(self.largest, len(indices))
        images = self.images[torch.from_numpy(np.asarray(indices))]
        return images if scrambled is None else random_phases(images, scrambled)


def options(**changes):
    arguments = {"encode": amplitude_spectra, "mask": disc(N, N / 2), "largest_shift_px": 8.0, "symmetry_fold": 1}
    return AlignmentOptions(**arguments | {"rounds": 10, "batch_size": 16} | changes)


def test_few_that_begin_lead_all_to_their_poses(monkeypatch):
    angle, shift = blobs.poses(120, 3)
    images = InMemory(blobs.stack(N, angle, shift, 0.5, 4))
    for sample in (30, 2048):
        images.largest = 0
        monkeypatch.setattr(streaming, "SAMPLE", sample)
        poses, _ = align_streamed(images, options())
        assert images.largest <= 16  # never more than a batch is asked for at once
        assert np.median(rotation_error_deg(poses.angle_deg.numpy(), angle.numpy())) < 2.5
        assert np.median(shift_error_px(poses.angle_deg.numpy(), poses.shift_px.numpy(), shift.numpy())) < 0.5
        # The signal's share of the deviation of one image is √(0.5 / 1.5) = 0.577.
        assert 0.55 < float(align(images.images, poses.angle_deg, poses.shift_px).mean(dim=0).std()) < 0.6
        assert float(images.images.mean(dim=0).std()) < 0.3


def test_the_size_of_the_batches_changes_nothing():
    angle, shift = blobs.poses(40, 5)
    images = InMemory(blobs.stack(N, angle, shift, 1.0, 6))
    first, second = (align_streamed(images, options(batch_size=size)) for size in (7, 40))
    assert torch.allclose(first[0].angle_deg, second[0].angle_deg, atol=0.01)
    assert torch.allclose(first[1].image, second[1].image, atol=0.04)


def test_a_reference_sets_angle_and_place():
    angle, shift = blobs.poses(40, 7)
    images = InMemory(blobs.stack(N, angle, shift, 1.0, 8))
    poses = align_streamed(images, options(sweeps=1), blobs.image(N))[0]
    apart = torch.remainder(poses.angle_deg - angle + 180, 360) - 180
    assert float(apart.abs().median()) < 2.5
    assert float((poses.shift_px - shift).norm(dim=1).median()) < 0.5


def test_an_image_is_taken_out_of_the_sums_before_it_is_compared():
    angle, shift = blobs.poses(6, 9)
    images = InMemory(blobs.stack(N, angle, shift, 1.0, 10)).images
    rows = rotated_rows(amplitude_spectra(images), -angle)
    moved = align(images, angle, shift)
    all_frequencies = torch.ones(N, N // 2 + 1)
    score = []
    for k in range(6):
        others = [j for j in range(6) if j != k]
        pose = Poses(angle[k : k + 1], shift[k : k + 1], torch.zeros(1))
        with_it = Template(rows.sum(0), moved.sum(0), all_frequencies)
        without = Template(rows[others].sum(0), moved[others].sum(0), all_frequencies)
        taken_out, _ = compare(images[k : k + 1], options(), with_it, pose)
        never_in, _ = compare(images[k : k + 1], options(), without)
        assert torch.allclose(taken_out.score, never_in.score, atol=1e-4)
        assert torch.allclose(taken_out.angle_deg, never_in.angle_deg, atol=0.01)
        score.append(float(compare(images[k : k + 1], options(), with_it)[0].score - taken_out.score))
    assert np.mean(score) > 0.04  # which matters: an image fits an average that holds itself


def test_a_symmetric_particle_gets_a_symmetric_template():
    angle, shift = blobs.poses(60, 11)
    images = InMemory(blobs.stack(N, angle, shift, 0.5, 12, blobs.symmetric(3)))
    poses, template = align_streamed(images, options(symmetry_fold=3))
    error = rotation_error_deg(poses.angle_deg.numpy(), angle.numpy(), period_deg=120)
    assert np.median(error) < 2.5
    rotated = align(template.image[None], torch.tensor([120.0]), torch.zeros(1, 2))[0]
    inside = disc(N, 18) > 0.99
    assert np.corrcoef(rotated[inside], template.image[inside])[0, 1] > 0.999


def test_noise_fits_the_average_of_its_own_but_not_that_of_the_other_half():
    noise = InMemory(torch.randn(200, N, N, generator=torch.Generator().manual_seed(13)))
    halves = [_part(noise, np.arange(first, 200, 2)) for first in (0, 1)]
    aligned_halves = [align_streamed(half, options()) for half in halves]
    generator = torch.Generator().manual_seed(0)
    crossed = [
        cross_scores(half, options(), template, generator)
        for half, (_, template) in zip(halves, reversed(aligned_halves), strict=True)
    ]
    scores, null = (np.concatenate(parts) for parts in zip(*crossed, strict=True))
    limit = np.quantile(null, 0.95)
    assert np.mean(scores > limit) < 0.12  # binomial: 5 % of 200, and the limit's own scatter
    own_scores = np.concatenate([half[0].score.numpy() for half in aligned_halves])
    assert np.mean(own_scores > limit) > 0.2  # Einstein from noise


def _part(images, indices):
    part = InMemory(images.images[torch.from_numpy(indices)])
    part.images = images.images[torch.from_numpy(indices)]
    return part
