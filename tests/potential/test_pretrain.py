"""The stage scripts of training: which network, for how long, on what, and what they hand on."""

import csv

import pytest
import torch
from torch import nn

from tests.potential import training
from tests.potential.toy import toy_samples
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.potential import finetune, pretrain
from workflow_scripts.potential.networks.model import Unet, load_network
from workflow_scripts.potential.networks.tasks import ImageTask
from workflow_scripts.potential.settings import VARIANTS
from workflow_scripts.potential.simulation.samples import MATCHED, RING, Samples
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

COMPUTE = {"gpus": 0, "precision": "float32", "seed": 0, "held_out_material": "GaN"}


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shard0.npz"
    write_arrays(path, toy_samples(per_material=3, side_px=32).arrays())
    return path


def run_pretrain(folder, shards, arm, **changes):
    arguments = training.pretrain(pretrain.Arguments, variant=arm, **{**COMPUTE, **changes})
    outputs = {"weights": folder / f"{arm}.safetensors", "history": folder / f"{arm}.csv"}
    pretrain.pretrain(Job(arguments, {"shards": shards}, outputs, folder / f"checkpoints-{arm}"))
    return outputs


def run_finetune(folder, shards, arm, pretrained, **changes):
    arguments = training.finetune(finetune.Arguments, variant=arm, **{**COMPUTE, **changes})
    outputs = {"weights": folder / f"{arm}-finetuned.safetensors", "history": folder / f"{arm}-finetuned.csv"}
    inputs = {"shards": shards, "pretrained": [pretrained]}
    finetune.finetune(Job(arguments, inputs, outputs, folder / f"checkpoints-finetune-{arm}"))
    return outputs


def epochs_of(outputs):
    with outputs["history"].open(encoding="utf-8") as file:
        return len(list(csv.DictReader(file)))


@pytest.mark.parametrize(("arm", "channels", "epochs"), [("corrected", (12, 2), 3), ("published", (11, 1), 3)])
def test_an_arm_is_trained_and_its_weights_say_for_what(tmp_path, shard, arm, channels, epochs):
    outputs = run_pretrain(tmp_path, [shard], arm, epochs=epochs)
    assert epochs_of(outputs) == epochs
    about = read_metadata(outputs["weights"])
    assert (about["n_in"], about["n_out"], about["arm"]) == (*channels, arm)
    assert about["microscope"]["ring_mrad"] == {RING: [10.0, 50.0], MATCHED: [0.0, 20.0]}
    assert load_network(outputs["weights"])(torch.zeros(1, channels[0], 32, 32)).shape == (1, channels[1], 32, 32)


def test_a_training_with_one_fault_is_short(tmp_path, shard):
    assert epochs_of(run_pretrain(tmp_path, [shard], "only_joint_minmax", epochs=3)) == 2


def test_the_baseline_is_a_plain_unet_whatever_the_arms_train(tmp_path, shard, monkeypatch):
    made = []
    monkeypatch.setattr(
        pretrain, "make_network", lambda settings, *shape: made.append(settings.kind) or Unet(12, 2, (8,))
    )
    for arm in ("unet", "corrected"):
        network = training.network("swin_unetr").model_dump(mode="json")
        run_pretrain(tmp_path, [shard], arm, network=network)
    assert made == ["unet", "swin_unetr"]


def test_finetuning_changes_the_corrected_weights_and_hands_the_published_ones_on(tmp_path, shard):
    for arm, variant in VARIANTS.items():
        before = run_pretrain(tmp_path, [shard], arm)["weights"]
        outputs = run_finetune(tmp_path, [shard], arm, before, samples=5, validation_share=0.2)
        same = before.read_bytes() == outputs["weights"].read_bytes()
        assert same == variant.without_finetune
        assert epochs_of(outputs) == (0 if variant.without_finetune else 1)
        assert read_metadata(outputs["weights"]) == read_metadata(before)
        load_network(outputs["weights"])


def test_the_held_out_material_is_in_no_batch_of_pretraining_and_alone_in_those_of_finetuning(
    tmp_path, shard, monkeypatch
):
    seen: dict[str, set] = {"train": set(), "validation": set()}

    class Watched(ImageTask):
        def __init__(self, train: Samples, validation: Samples, *rest) -> None:
            super().__init__(train, validation, *rest)
            seen.update(train=set(train.material), validation=set(validation.material))

    monkeypatch.setattr(pretrain, "ImageTask", Watched)
    monkeypatch.setattr(finetune, "ImageTask", Watched)
    before = run_pretrain(tmp_path, [shard], "corrected")["weights"]
    assert seen["train"] == {"KNbO3", "SrTiO3"} and seen["validation"] <= seen["train"]
    run_finetune(tmp_path, [shard], "corrected", before)
    assert seen == {"train": {"GaN"}, "validation": {"GaN"}}


def test_a_broken_shard_stops_pretraining_with_its_name(tmp_path, shard):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"broken\.npz"):
        run_pretrain(tmp_path, [shard, broken], "corrected")
    assert not list(tmp_path.glob("*.safetensors"))
    assert epochs_of(run_pretrain(tmp_path, [shard, broken], "published")) == 1


def test_a_training_that_was_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path, shard, monkeypatch):
    loop = {"epochs": 2, "checkpoint_interval_s": 0.0}
    (tmp_path / "undisturbed").mkdir()
    undisturbed = run_pretrain(tmp_path / "undisturbed", [shard], "corrected", **loop)

    class Stopped(ImageTask):
        left = 3

        def batch(self, *given):
            Stopped.left -= 1
            if Stopped.left < 0:
                raise KeyboardInterrupt
            return super().batch(*given)

    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "ImageTask", Stopped)
        with pytest.raises(KeyboardInterrupt):
            run_pretrain(tmp_path, [shard], "corrected", **loop)
    assert list(tmp_path.glob("checkpoints-corrected/step3-*"))
    again = run_pretrain(tmp_path, [shard], "corrected", **loop)
    for name in ("weights", "history"):
        assert again[name].read_bytes() == undisturbed[name].read_bytes()


def test_training_lowers_the_validation_loss(tmp_path, shard):
    outputs = run_pretrain(tmp_path, [shard], "corrected", epochs=25)
    with outputs["history"].open(encoding="utf-8") as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]
    assert isinstance(load_network(outputs["weights"]), nn.Module)
