"""Random orientations."""

import torch

from workflow_scripts.matching.networks.retrieval import Predictions
from workflow_scripts.matching.simulation.orientations import random_rotations
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.command import Job


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, Predictions]:
    """Uniformly random orientations with random scores, best first, under the key `fitted`."""
    generator = torch.Generator().manual_seed(job.arguments.training_seed)
    shape = len(queries), job.arguments.candidates
    rotation = random_rotations(shape[0] * shape[1], generator).float().unflatten(0, shape)
    score = torch.rand(shape, generator=generator).sort(dim=1, descending=True).values
    return {"fitted": Predictions(rotation, score, torch.randint(len(queries.gallery), shape, generator=generator))}
