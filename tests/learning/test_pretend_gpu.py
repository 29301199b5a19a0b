"""The pretend GPU of the tests: it refuses what a GPU refuses, and computes what the CPU computes."""

import copy
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.learning.tiny_training import BATCH_SIZE, DEFAULTS, N_SAMPLES
from tests.pretend_gpu import CPU, GPU, GpuTensor, pretend_gpu
from workflow_scripts.learning import devices
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.learning.training import train


@pytest.fixture
def gpu():
    with pretend_gpu() as counts:
        yield counts


def test_tensors_say_where_they_are(gpu):
    image = torch.ones(3, 4, device="cuda")
    assert isinstance(image, GpuTensor)
    assert image.device == GPU and image.is_cuda and not image.is_cpu
    assert image.new_zeros(2).device == torch.zeros_like(image).device == (2 * image).device == GPU
    assert torch.ones(3).device == image.cpu().device == image.to("cpu", torch.float64).device == CPU
    assert image.cpu().to(image).device == GPU
    assert torch.arange(3, device=image.device).device == torch.as_tensor([1.0], device=GPU).device == GPU


MISTAKES = {
    "a sum of two devices": lambda x: x + torch.ones(3),
    "a matrix on the CPU": lambda x: functional.linear(x, torch.ones(2, 3)),
    "a list of two devices": lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
    "a CPU tensor by an index of the GPU": lambda x: torch.ones(3)[x.long()],
    "a network left on the CPU": lambda x: nn.Linear(3, 2)(x),
    "numpy": lambda x: x.numpy(),
    "numpy by conversion": lambda x: np.asarray(x),
    "numpy by conversion to a type": lambda x: np.asarray(x, dtype=np.float32),
    "a generator of the CPU": lambda x: torch.rand(3, device=x.device, generator=torch.Generator()),
    "a generator of the CPU in place": lambda x: x.normal_(generator=torch.Generator().manual_seed(0)),
    "a generator of the CPU by its place": lambda x: torch.poisson(x, torch.Generator()),
    "a generator of the GPU for the CPU": lambda x: torch.randperm(3, generator=torch.Generator(x.device)),
    "a Fourier transform of bfloat16": lambda x: torch.fft.rfft(x.bfloat16()),
    "a Fourier transform under autocast": lambda x: _under_autocast(lambda: torch.fft.rfft(x[None] @ x[:, None])),
    "an inverse of bfloat16 under autocast": lambda x: _under_autocast(lambda: torch.linalg.inv(x[None] @ x[:, None])),
    "a sparse product under autocast": lambda x: _under_autocast(lambda: torch.diag(x).to_sparse() @ x[:, None]),
    "a histogram": lambda x: torch.histogram(x, 4),
}


def _under_autocast(compute):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return compute()


@pytest.mark.parametrize("inference", [False, True], ids=["", "in inference mode"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_raises(gpu, mistake, inference):
    with torch.inference_mode(inference), pytest.raises((RuntimeError, TypeError), match="pretend GPU"):
        MISTAKES[mistake](torch.ones(3, device="cuda"))


CORRECT = {
    "a CPU tensor without dimensions": lambda x: x * torch.tensor(2.0) + torch.tensor(1.0),
    "copies in place": lambda x: x.clone().copy_(torch.ones(4, 5)).add(torch.ones(5).to(x)),
    "generators": lambda x: x + torch.randn(x.shape, device=x.device, generator=torch.Generator(x.device)),
    "Fourier transforms": lambda x: torch.fft.irfft2(torch.fft.rfft2(x).conj() * 1j).abs(),
    "solutions": lambda x: torch.linalg.solve(x @ x.mT + torch.eye(4, device=x.device), x),
    "indices": lambda x: x[x.argsort(dim=1)[:, 0] > 1, torch.tensor([0])].cumsum(0),
    "sparse products": lambda x: (x > 0).float().to_sparse() @ x.mT,
    "views in place": lambda x: x.clone().index_put_((torch.tensor([1], device=x.device),), x[0]).mT[1:].relu_(),
    "numbers of Python": lambda x: (
        x * x.new_tensor([1.0, 2, 3, 4, 5]) + torch.tensor([x.max().item()], device=x.device)
    ),
    "interpolation": lambda x: functional.interpolate(x[None, None], scale_factor=2, mode="bilinear"),
    "a convolution": lambda x: functional.conv2d(x[None, None], x[:3, :3][None, None], padding=1),
}


@pytest.mark.parametrize("inference", [False, True], ids=["", "in inference mode"])
@pytest.mark.parametrize("kind", CORRECT)
def test_a_correct_computation_has_the_numbers_of_the_cpu(kind, inference):
    image = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    expected = CORRECT[kind](image)
    with pretend_gpu(), torch.inference_mode(inference):
        computed = CORRECT[kind](image.to("cuda"))
        assert computed.device == GPU
        assert torch.equal(computed.cpu(), expected)


def test_launches_and_synchronisations_are_counted(gpu):
    image = torch.ones(3, 4, device="cuda")
    image[1:].mT.mul_(2)
    assert gpu.launches == {"ones": 1, "mul_": 1} and not gpu.synchronisations
    float(image.sum()), image.tolist(), image[image > 1], image.cpu()
    expected = {"_local_scalar_dense": 1, "tolist": 1, "index by a mask": 1, "copy to the CPU": 1}
    assert gpu.synchronisations == expected
    torch.ones(3).pin_memory().to("cuda", non_blocking=True)
    image[image > 1] = 0
    assert gpu.synchronisations == expected
    assert not gpu.float64 and torch.ones(2000, device="cuda", dtype=torch.float64).square().numel()
    assert gpu.float64 == {"pow": 1}


def test_a_gradient_moves_with_its_tensor(gpu):
    weight = torch.ones(3, requires_grad=True)
    (weight.to("cuda") * torch.arange(3.0, device="cuda")).cpu().sum().backward()
    assert weight.grad.device == CPU and weight.grad.tolist() == [0, 1, 2]


def test_an_optimizer_updates_all_parameters_at_once(gpu):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to("cuda")
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3, device="cuda")).sum().backward()
    gpu.launches.clear(), gpu.synchronisations.clear()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    assert not gpu.synchronisations
    assert gpu.launches["_foreach_addcdiv_"] == 1
    assert not {"addcdiv_", "mul_"} & gpu.launches.keys()


class NoisySums:
    """The sum of three numbers through fresh noise, on any device."""

    n_samples = N_SAMPLES

    def __init__(self, device):
        self.samples = torch.randn(N_SAMPLES, 3, generator=torch.Generator().manual_seed(1)).to(device)

    def batch(self, indices, generator):
        samples = self.samples[indices]
        noise = torch.randn(samples.shape, generator=generator, device=generator.device)
        return samples + 0.1 * noise, samples.sum(1, keepdim=True)

    def loss(self, model, batch):
        return (model(batch[0]) - batch[1]).square().mean()

    def validate(self, model):
        return self.loss(model, (self.samples, self.samples.sum(1, keepdim=True))).item()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_has_the_weights_of_the_cpu(tmp_path, optimizer):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1))
    values = DEFAULTS | {"optimizer": optimizer, "gradient_clip_norm": 1.0}
    settings = TrainingSettings(epochs=2, batch_size=BATCH_SIZE, learning_rate=0.02, **values)

    def trained(gpus):
        with devices.leased_device(gpus) as device:
            return train(
                copy.deepcopy(network),
                NoisySums(device),
                settings,
                seed=5,
                device=device,
                precision="float32",
                checkpoint_folder=tmp_path / str(gpus),
            )

    expected = trained(0)
    with pretend_gpu():
        computed = trained(1)
    assert [list(row) for row in computed.history] == [list(row) for row in expected.history]
    for name, weights in expected.last.items():
        torch.testing.assert_close(computed.last[name], weights)


def test_inference_mode_has_no_gradients(gpu):
    weight = torch.ones(3, device="cuda", requires_grad=True)
    assert not torch.inference_mode()(lambda: (2 * weight).requires_grad)()
    with torch.inference_mode(False):
        assert (2 * weight).requires_grad
    assert torch.is_grad_enabled()


def test_bfloat16_is_that_of_the_cpu():
    torch.manual_seed(0)
    network, image = nn.Linear(3, 2), torch.randn(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = network(image)
    with pretend_gpu():
        network.to("cuda")
        computed = _under_autocast(lambda: network(image.to("cuda")))
        assert computed.dtype == torch.bfloat16 and torch.equal(computed.cpu(), expected)


def patched():
    functions = (torch.Generator, torch.autocast, torch.inference_mode.__enter__, torch.cuda.device_count)
    return [*functions, devices.visible_gpus, devices.lock_folder, dict(os.environ)]


def test_everything_is_undone():
    before = patched()
    with pytest.raises(KeyError), pretend_gpu():
        with devices.leased_device(1) as device:
            outliving = torch.ones(3, device=device)
        raise KeyError
    assert patched() == before
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
    assert torch.ones(3).device == CPU
    with pytest.raises(RuntimeError, match="outlived"):
        outliving + 1
