"""A toy estimator: the scalar product of a query with every calculated pattern, as they lie on the detector."""

import torch

from workflow_scripts.matching.networks.retrieval import predict_queries


class ScalarProduct:
    """Compares patterns without rotating them in the plane."""

    def __init__(self, gallery):
        self.gallery = gallery.flatten(1)

    def curves(self, counts):
        """Similarity (B, G, 2) of patterns (B, n, n) at the in-plane angles 0° and 180°, which are taken for equal."""
        return (counts.flatten(1) @ self.gallery.T)[..., None].repeat(1, 1, 2)


def predict(job, queries, device):
    """The predictions for all queries, by stage."""
    estimator = ScalarProduct(torch.from_numpy(queries.gallery).to(device))
    return {"fitted": predict_queries(estimator, queries, job.arguments, device)}
