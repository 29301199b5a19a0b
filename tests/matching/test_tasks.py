"""Training tasks: views, pairs, losses at their stage; the faults of the recipe, present in one arm only."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.matching.training import AUGMENTATION, CPU, LOSS, NETWORK, calculated, pairs, queries, seeded
from workflow_scripts.matching import settings
from workflow_scripts.matching.networks.losses import angular_contrast, contrast, peak_target, queue_contrast
from workflow_scripts.matching.networks.model import make_matcher
from workflow_scripts.matching.networks.momentum import MomentumContrast, encoder_state
from workflow_scripts.matching.networks.tasks import FinetuneTask, Observer, PretrainTask, split_by_cells
from workflow_scripts.matching.settings import ARMS, LOSSES, SHORT, VARIANTS, Evaluate, base_of
from workflow_scripts.study.estimators import FILE, read_registry

# Of the contrast with momentum, beside the settings of the training
CONTRAST = SimpleNamespace(queue=16, key_momentum=0.5, temperature=0.1)
SPLIT = split_by_cells(pairs().rotation, 16)
PUBLISHED, CORRECTED = VARIANTS["published"], VARIANTS["corrected"]


def same(patterns):
    return patterns


def observer(variant=CORRECTED):
    return Observer(pairs(), variant, AUGMENTATION, 16)


def finetuning(variant=CORRECTED, encode=same, **loss):
    return FinetuneTask(observer(variant), LOSS.model_copy(update=loss), encode, 16)


def test_counts_have_the_doses_of_the_augmentation_and_fresh_noise():
    rows = torch.arange(40)
    shares = observer().pairs(rows)[1]
    total = observer().counts(shares, seeded()).sum(dim=(1, 2))
    share = 1 + AUGMENTATION.background_share
    assert total.min() > 0.7 * AUGMENTATION.dose_min_e * share
    assert total.max() < 1.3 * AUGMENTATION.dose_max_e * share
    assert total.max() > 3 * total.min()
    assert not torch.equal(observer().counts(shares, seeded(1)), observer().counts(shares, seeded(2)))
    recipe = observer(PUBLISHED).counts(shares, seeded()).sum(dim=(1, 2))
    assert float(recipe.mean()) == pytest.approx(AUGMENTATION.recipe_dose_e * share, rel=0.03)
    assert float(recipe.std()) < 2 * (AUGMENTATION.recipe_dose_e * share) ** 0.5


def test_cells_that_validate_are_not_trained_on():
    train, validation = SPLIT
    assert len(validation) > 0
    assert not set(train.tolist()) & set(validation.tolist())
    directions = pairs().rotation[:, 2].abs().sort(dim=1).values
    nearest = torch.rad2deg(torch.arccos((directions[train] @ directions[validation].T).clamp(-1, 1)).min())
    assert float(nearest) > 0


@pytest.mark.parametrize("arm", ["published", "corrected"])
def test_only_the_recipe_turns_its_views_apart(arm):
    variant = replace(VARIANTS[arm], normalised_in_pretraining_only=False)
    task = PretrainTask(observer(variant), torch.zeros(0, 32, 32), same, 16)
    first, second = task.batch(torch.arange(48), seeded())
    spectra = [torch.fft.fft2(view - view.mean(dim=(1, 2), keepdim=True)) for view in (first, second)]
    height = torch.fft.ifft2(spectra[0] * spectra[1].conj()).real.amax(dim=(1, 2))
    norm = [view.abs().square().mean(dim=(1, 2)).sqrt() for view in spectra]
    alike = float((height / (norm[0] * norm[1]) * 32 * 32 / 32**2).median())
    assert (alike > 0.75) == (arm == "corrected")


def test_only_the_recipe_s_pretraining_sees_the_test():
    test_patterns = torch.full((20, 32, 32), 7.0)
    for arm, extra in (("published", test_patterns), ("corrected", torch.zeros(0, 32, 32))):
        variant = replace(VARIANTS[arm], normalised_in_pretraining_only=False, rotated_apart=False)
        assert variant.pretraining_sees_test == (arm == "published")
        task = PretrainTask(observer(variant), extra, same, 16)
        from_test = (task.batch(torch.arange(64), seeded())[0] == 7.0).all(dim=(1, 2))
        assert bool(from_test.any()) == (arm == "published")
        # What chooses the weights never does.
        assert np.isfinite(task.validate(lambda first, second: (first - second).square().mean()))


@pytest.mark.parametrize("arm", ["published", "corrected"])
def test_only_the_recipe_normalises_in_pretraining_and_not_in_finetuning(arm):
    variant = replace(VARIANTS[arm], rotated_apart=False)
    task = PretrainTask(observer(variant), torch.zeros(0, 32, 32), same, 16)
    view = task.batch(torch.arange(8), seeded())[0]
    normal = torch.allclose(view.mean(dim=(1, 2)), torch.zeros(8), atol=1e-4)
    assert normal == (arm == "published")
    counts = finetuning(variant).batch(torch.arange(8), seeded())[0]
    assert torch.equal(counts, counts.round())


def test_pairs_belong_together_and_batches_follow_from_the_generator():
    task = finetuning()
    observed, calculated, seeds = task.batch(torch.arange(12), seeded())
    again = task.batch(torch.arange(12), seeded())
    assert all(torch.equal(first, second) for first, second in zip((observed, calculated, seeds), again, strict=True))
    flat = [(view - view.mean(dim=(1, 2), keepdim=True)).flatten(1) for view in (observed, calculated)]
    alike = torch.nn.functional.normalize(flat[0], dim=1) @ torch.nn.functional.normalize(flat[1], dim=1).T
    others = (alike.sum() - alike.trace()) / (12 * 11)
    assert float(alike.diagonal().mean()) > 2 * float(others)


def test_the_wasserstein_term_is_taken_at_its_stage_but_in_the_recipe():
    matcher = make_matcher(NETWORK, PUBLISHED, 0)
    batch = finetuning(PUBLISHED).batch(torch.arange(16), seeded())
    for variant, ignored in ((PUBLISHED, True), (replace(PUBLISHED, stage_ignored=False), False)):
        loss = [
            float(finetuning(variant, wasserstein="sliced", stage=stage).loss(matcher.eval(), batch).detach())
            for stage in (0, 1)
        ]
        assert (loss[0] == loss[1]) == ignored


def identity_network(observed, calculated):
    """A network whose one stage is the pattern itself."""
    flat = [patterns.flatten(1) for patterns in (observed, calculated)]
    return flat[0], [flat[0]], flat[1], [flat[1]], torch.tensor(0.0)


def test_the_recipe_s_max_sliced_term_depends_on_the_order_of_the_rows():
    observed, _, seeds = finetuning().batch(torch.arange(16), seeded())
    shuffled = torch.randperm(16, generator=seeded(5))
    for paired in (True, False):
        task = finetuning(replace(CORRECTED, max_sliced_paired=paired), wasserstein="max_sliced")
        terms = [
            float(task.loss(identity_network, batch))
            for batch in ((observed, observed, seeds), (observed, observed[shuffled], seeds))
        ]
        assert (abs(terms[0] - terms[1]) > 0.01) == paired


def test_contrasts_are_cross_entropies():
    similarity = torch.randn(6, 6, generator=seeded())
    target = torch.arange(6)
    expected = [torch.nn.functional.cross_entropy(some, target) for some in (similarity, similarity.T)]
    assert float(contrast(similarity).mean()) == pytest.approx(float(sum(expected) / 2), rel=1e-5)
    positive, negative = torch.randn(5, generator=seeded(1)), torch.randn(5, 9, generator=seeded(2))
    expected = torch.nn.functional.cross_entropy(torch.cat([positive[:, None], negative], 1), torch.zeros(5).long())
    assert float(queue_contrast(positive, negative).mean()) == pytest.approx(float(expected), rel=1e-5)
    curves = torch.zeros(3, 3, 8)
    curves[torch.arange(3), torch.arange(3), 0] = 50.0
    assert float(angular_contrast(curves).mean()) < float(angular_contrast(curves.roll(4, dims=-1)).mean()) - 20
    assert float(peak_target(24, CPU).sum()) == pytest.approx(1.0)


def test_the_queue_takes_keys_in_turn_and_the_slow_copy_follows():
    matcher = make_matcher(NETWORK, CORRECTED, 0)
    model = MomentumContrast(matcher.observed, CONTRAST, 0)
    view = matcher.observed.encode(calculated(8))
    before = model.queue.clone()
    model.train()(view, view)
    assert int(model.place) == 8
    assert not torch.equal(model.queue[:8], before[:8])
    assert torch.equal(model.queue[8:], before[8:])
    queue = model.queue.clone()
    model.eval()(view, view)
    assert torch.equal(model.queue, queue)
    with torch.no_grad():
        model.encoder.ring_weight.fill_(3.0)
    model.train()(view, view)
    assert torch.allclose(model.key_encoder.ring_weight, torch.full((NETWORK.rings, 1), 2.0))
    assert encoder_state(model.state_dict()).keys() == matcher.observed.state_dict().keys()


def test_the_registry_and_the_arms_agree():
    registry = read_registry(Path(settings.__file__).with_name(FILE))
    assert set(registry.trained()) == {*ARMS, "corrected_refit"}  # the refit takes the weights of `corrected`
    for arm in ARMS:
        assert registry[arm].kind == ("published" if base_of(arm) == "published" else "learned")
        assert registry[arm].pretrained_as == ("corrected" if arm in LOSSES else arm)


def test_arms_of_the_ablation_have_a_base():
    assert {base_of(arm) for arm in SHORT} == {"corrected"}
    assert base_of("fair_pretraining") == "published"
    evaluate = Evaluate.model_construct(ablations=tuple(ARMS)[2:])
    assert evaluate.ablation_arms(["published"]) == ["fair_pretraining"]
    assert "fair_pretraining" not in SHORT  # its worth is read against an arm that is trained in full


def test_queries_of_the_toy_file_are_counts():
    assert (queries().counts == queries().counts.round()).all()
