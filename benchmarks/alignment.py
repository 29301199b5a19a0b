"""Time alignment: particles per second of the baselines, of a network, of its training, and of RELION.

    python -m benchmarks.alignment
    python -m benchmarks.alignment --weights results/laptop/alignment/finetune/corrected/seed0/weights.safetensors
    python -m benchmarks.alignment --device cuda --images 10000 --snr 0.05

One stack of the asymmetric particle with a true contrast transfer and white noise. Jointly means angle, branch, shift
and average of the whole stack. RELION's two-dimensional classification with one class (K = 1) gets the same stack
where `relion_refine` is on the PATH; its angles and shifts are scored alike.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.alignment.estimators import network, polar_pairwise
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.aligner import Aligner
from workflow_scripts.alignment.networks.branch import align_stack
from workflow_scripts.alignment.networks.model import make_network
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, joint
from workflow_scripts.alignment.networks.tasks import IMAGES, Augmentation, FreshNoiseTask
from workflow_scripts.alignment.settings import VARIANTS, Predict, Pretrain, Synthesize
from workflow_scripts.alignment.simulation import datasets
from workflow_scripts.alignment.simulation.labels import FINETUNED, LabelledStack, read_labelled
from workflow_scripts.formats.particles import open_particles
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

PARTICLE = "asymmetric"
_STEPS = 10
_ITERATIONS = 25


def timed(make: Callable[[], torch.Tensor], repeats: int) -> tuple[float, torch.Tensor]:
    """The median wall time of `repeats` runs after one that warms up, and what the last made."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        made = make()
        made.cpu()  # waits for the device
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), made


def line(name: str, count: int, seconds: float, details: str = "") -> None:
    """Print one measurement."""
    print(f"{name:28}{seconds:9.2f} s{count / seconds:12,.0f} particles/s{details}", flush=True)


def of_poses(stack: LabelledStack, angle_deg: np.ndarray, shift_px: np.ndarray) -> str:
    """Mean errors of whole poses, in words."""
    true_deg, true_px = stack.truth()
    angle = rotation_error_deg(angle_deg, true_deg).mean()
    return f", {angle:.2f}° of 360°, {shift_error_px(angle_deg, shift_px, true_px).mean():.2f} px"


def measure(name: str, aligner: Aligner, stack: LabelledStack, images: torch.Tensor, repeats: int) -> None:
    """Time an estimator pair by pair and jointly."""
    true_deg, _ = stack.truth()
    if aligner.pair_deg:
        seconds, pairs = timed(lambda: aligner.pair_deg(images), repeats)
        relative = true_deg[:-1] - true_deg[1:]
        error = rotation_error_deg(pairs.cpu().numpy(), relative, 180.0, relative=True).mean()
        line(f"{name}, pairs", len(images), seconds, f", {error:.2f}° mod 180")
    if not aligner.joint_deg:
        return
    found = []

    def jointly() -> torch.Tensor:
        found[:] = [align_stack(images, aligner.joint_deg(images))]
        return found[0][1]

    seconds, _ = timed(jointly, repeats)
    poses = found[0][0]
    line(f"{name}, jointly", len(images), seconds, of_poses(stack, poses.angle_deg.cpu(), poses.shift_px.cpu()))


def training(settings: Synthesize, pretrain: Pretrain, device: torch.device) -> float:
    """Images per second that the corrected arm's training takes, optimizer included."""
    particles = list(datasets.random_particles(settings.model_copy(update={"random_particles": 16}), 0))
    augmentation = Augmentation(
        pretrain.snr_min,
        pretrain.snr_max,
        pretrain.coloured_share,
        pretrain.validation_pairs,
        settings.largest_shift_px,
    )
    task = FreshNoiseTask(
        particles,
        particles,
        settings.microscope,
        augmentation,
        pretrain.network.rings,
        pretrain.pairs,
        device,
    )
    trained = make_network(pretrain.network, VARIANTS["corrected"], 0).to(device)
    optimizer = torch.optim.AdamW(trained.parameters())
    generator = torch.Generator(device).manual_seed(0)
    rows = torch.arange(pretrain.batch_size)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(trained, task.batch(rows, generator))
        loss.backward()
        optimizer.step()
        return loss.detach()

    step()
    seconds, _ = timed(step, _STEPS)
    return len(rows) * IMAGES / seconds


def relion(stack: LabelledStack, folder: Path, diameter_a: float, threads: int) -> None:
    """Align the stack by RELION's classification with one class, at its usual settings, and print time and errors."""
    (folder / "run").mkdir()
    words = ["relion_refine", "--i", "shard0.star", "--o", "run/run", "--iter", str(_ITERATIONS), "--K", "1", "--ctf"]
    words += ["--particle_diameter", f"{diameter_a:.0f}", "--tau2_fudge", "2", "--flatten_solvent", "--zero_mask"]
    words += ["--oversampling", "1", "--psi_step", "6", "--offset_range", "12", "--offset_step", "2"]
    words += ["--norm", "--scale", "--pool", "30", "--pad", "2", "--dont_combine_weights_via_disc", "--j", str(threads)]
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        print(f"RELION stopped with code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return
    shutil.copy(folder / "run" / f"run_it{_ITERATIONS:03d}_data.star", folder / "aligned.star")
    angle_deg, shift_px = open_particles(folder / "aligned.star").poses()
    line(f"RELION, {threads} threads", len(stack), seconds, of_poses(stack, angle_deg, shift_px))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="weights of the stage finetune (.safetensors)")
    parser.add_argument("--images", type=int, default=600, help="images in the stack (default 600)")
    parser.add_argument("--snr", type=float, default=0.1, help="signal-to-noise ratio (default 0.1)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each; the median counts (default 3)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    options = parser.parse_args(arguments)

    laptop = merged("laptop")["alignment"]
    one_stack = {"particles": [PARTICLE], "snr": [options.snr], "coloured_snr": [], "test_images": options.images}
    settings = check(Synthesize, laptop["synthesize"] | one_stack)
    device = torch.device(options.device)
    predict = check(Predict, laptop["predict"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {"stack": folder / "shard0.mrcs", "star": folder / "all.star", "centres": folder / "centres.mrcs"}
        datasets.write_files(settings, "test", 0, paths, torch.device("cpu"))
        stack = read_labelled(paths["star"], paths["stack"])[0]
        images = stack.read().to(device)
        threads = torch.get_num_threads()
        print(f"{len(stack)} images of {settings.box_px} px at SNR {options.snr:g}, {device}, {threads} threads")
        with torch.inference_mode():
            pairs = Aligner(pair_deg=polar_pairwise.pair_deg)
            measure("polar_pairwise", pairs, stack, images, options.repeats)
            rounds = predict.polar_joint.rounds
            jointly = Aligner(joint_deg=lambda images: joint(amplitude_spectra(images), rounds)[0])
            measure("polar_joint", jointly, stack, images, options.repeats)
            if options.weights:
                trained = network.aligner(options.weights, FINETUNED, predict.network, device)
                measure("network", trained, stack, images, options.repeats)
        speed = training(settings, check(Pretrain, laptop["pretrain"]), device)
        print(f"{'training, corrected':28}{'':11}{speed:12,.0f} particles/s")
        if shutil.which("relion_refine"):
            # The list without the stack of pure noise.
            text = paths["star"].read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [row for row in text if " noise " not in row]
            (folder / "shard0.star").write_text("".join(kept), encoding="utf-8")
            relion(stack, folder, 0.9 * settings.box_px * settings.pixel_size_a, threads)
        else:
            print("relion_refine is not on the PATH: no comparison with RELION")
    return 0


if __name__ == "__main__":
    sys.exit(main())
