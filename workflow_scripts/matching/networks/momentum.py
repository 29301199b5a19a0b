"""Momentum contrast (MoCo v2, arXiv:2003.04297): views of a pattern against a queue of keys of other patterns."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.learning.precision import full_precision, in_float32
from workflow_scripts.matching.networks.losses import queue_contrast
from workflow_scripts.matching.networks.model import AngularNetwork, Encoder, correlations
from workflow_scripts.matching.settings import Pretrain


class MomentumContrast(nn.Module):
    """An encoder, its slow copy, and the queue; all of them are in the state dict, so that a training resumes.

    Args:
        encoder: patterns to features of norm 1, (E,) or (C, A).
        settings: length of the queue, momentum of the slow copy, temperature of the contrast.
        seed: of the first keys.
    """

    def __init__(self, encoder: Encoder, settings: Pretrain, seed: int) -> None:
        super().__init__()
        self.encoder, self.key_encoder = encoder, copy.deepcopy(encoder).requires_grad_(False)
        self._key_momentum, self._temperature = settings.key_momentum, settings.temperature
        is_angular = isinstance(encoder, AngularNetwork)
        shape = (encoder.rings, encoder.angles) if is_angular else (settings.network.embedding,)
        keys = torch.randn(settings.queue, *shape, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("queue", functional.normalize(keys.flatten(1), dim=1).view(keys.shape))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The mean contrast of two views (B, …); in training the keys of the second views are added to the queue."""
        query = in_float32(self.encoder(first))
        with torch.no_grad():
            if self.training:
                for slow, fast in zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True):
                    slow.lerp_(fast, 1 - self._key_momentum)
            key = in_float32(self.key_encoder(second))
        with full_precision(first.device):
            loss = self._contrast(query, key)
        if self.training:
            self._enqueue(key)
        return loss

    def _contrast(self, query: Tensor, key: Tensor) -> Tensor:
        """The mean contrast of features (B, …) of both views against the queue."""
        if query.ndim == 3:
            # The correlation of each query with its own key only, not with every key of the batch
            product = torch.fft.rfft(query) * torch.fft.rfft(key).conj()
            positive = torch.fft.irfft(product.sum(dim=1), n=query.shape[-1])
            negative = correlations(query, self.queue.clone())
        else:
            positive, negative = (query * key).sum(dim=1), query @ self.queue.clone().T
        return queue_contrast(positive / self._temperature, negative / self._temperature).mean()

    @torch.no_grad()
    def _enqueue(self, key: Tensor) -> None:
        place = (self.place + torch.arange(len(key), device=key.device)) % len(self.queue)
        self.queue[place] = key
        self.place.copy_((self.place + len(key)) % len(self.queue))


def encoder_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of a state dict of `MomentumContrast`."""
    prefix = "encoder."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
