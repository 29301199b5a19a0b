"""The projected potential behind the user's segmented images, by the network of the corrected arm."""

from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.potential.apply.data import UserImages
from workflow_scripts.potential.apply.output import write_h5, write_preview, write_tiff
from workflow_scripts.potential.apply.reconstruction import TrainingRange, quality, reconstruct
from workflow_scripts.potential.networks.model import load_network
from workflow_scripts.potential.simulation.samples import read_samples
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json, write_json
from workflow_scripts.workflow.settings import Compute


class Arguments(Compute):
    """The entry of the configuration, and on what it runs."""

    name: str = Field(description="Name of the images in the configuration.")
    batch_size: int = Field(ge=1, description="Tiles that go through the network at once.")


def apply(job: Job[Arguments]) -> None:
    """Write the potential in three formats, and a report on its quality."""
    arguments, images = job.arguments, UserImages.read(job.input("shares"))
    augmentation = read_metadata(job.input("weights"))["lesson"]
    doses = (augmentation["dose_min_e_per_a2"], augmentation["dose_max_e_per_a2"])
    training = TrainingRange.of(read_samples(job.inputs["shard"]), images.detector, doses)
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        network = load_network(job.input("weights"))
        potential = reconstruct(images, network, training, device, arguments.precision, arguments.batch_size)
    about = {
        "name": arguments.name,
        "axes": "y, x of the scan; segment s covers the azimuths 90 s to 90 (s + 1) degrees from +y to +x",
        "voltage_kv": images.voltage_kv,
        "semiangle_mrad": images.semiangle_mrad,
        "dose_e_per_a2": images.dose_e_per_a2,
    }
    write_h5(job.outputs["h5"], potential[:, 0], potential[:, 1], images.shares, images.pixel_size_a, about)
    write_tiff(job.outputs["tiff"], potential[:, 0], images.pixel_size_a)
    write_preview(job.outputs["png"], images.shares[0], potential[0], images.pixel_size_a)
    report = read_json(job.input("report"))
    write_json(job.outputs["quality"], report | {"quality": quality(images, potential[:, 0], training)})


if __name__ == "__main__":
    Command(
        apply,
        Arguments,
        inputs={
            "shares": "The checked images (.npz).",
            "report": "The report on them (.json).",
            "weights": "Weights of the stage finetune, corrected arm (.safetensors).",
            "shard": "Training samples, whose range the images are compared with (.npz).",
        },
        outputs={
            "h5": "Potential, its band-limited part and the shares (.h5).",
            "tiff": "The potential (.tif).",
            "png": "A preview (.png).",
            "quality": "The report on the images, and on the potential (.json).",
        },
    ).main()
