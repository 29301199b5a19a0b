"""The corrected arm's network as it is before training."""

import torch

from workflow_scripts.matching.estimators.network import NetworkEstimator
from workflow_scripts.matching.networks.model import make_matcher
from workflow_scripts.matching.networks.retrieval import Predictions, predict_queries
from workflow_scripts.matching.settings import VARIANTS
from workflow_scripts.matching.settings import UntrainedSettings as Options
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.command import Job


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, Predictions]:
    """The predictions for all queries under the key `fitted`."""
    options: Options = job.arguments.options
    matcher = make_matcher(options.network, VARIANTS["corrected"], seed=0)
    estimator = NetworkEstimator(matcher, torch.from_numpy(queries.gallery).to(device), device, "float32")
    return {"fitted": predict_queries(estimator, queries, job.arguments, device)}
