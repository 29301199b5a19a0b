# Four-segment STEM images to the projected potential: crystals → multislice → network → potential → figures.
POTENTIAL = section("potential", "synthesize")
POTENTIAL_SPLIT = options(held_out_material=POTENTIAL.held_out_material)


use rule synthesize as potential_synthesize with:
    input:
        sources=POTENTIAL.files(),
    wildcard_constraints:
        method="potential",
    resources:
        **job_resources(
            "potential",
            None,
            times=3,
            more_mb=POTENTIAL.multislice.memory_mib,
            runtime=240,
        ),
    params:
        files=file_digest(POTENTIAL.files()),


use rule pretrain as potential_pretrain with:
    wildcard_constraints:
        method="potential",
    resources:
        # Half of the samples are trained on; they are held in memory, with a copy for the device.
        **job_resources("potential", "train", times=1.5, runtime=720),
    params:
        more=POTENTIAL_SPLIT,


use rule finetune as potential_finetune with:
    wildcard_constraints:
        method="potential",
    resources:
        **job_resources("potential", "train", times=0, runtime=240),
    params:
        more=POTENTIAL_SPLIT,


use rule predict as potential_predict with:
    wildcard_constraints:
        method="potential",
    resources:
        # The baselines read the training files one by one.
        **job_resources(
            "potential",
            "test",
            times=4,
            more_mb=3 * POTENTIAL.file_mb("train"),
            gpu=gpus_of_estimator,
        ),
    params:
        more=POTENTIAL_SPLIT,


use rule evaluate as potential_evaluate with:
    output:
        **artifacts(
            "evaluate", "metrics.csv", "by_source.csv", "examples.npz", "cells.csv"
        ),
    wildcard_constraints:
        method="potential",
    resources:
        **job_resources("potential", "test", times=4, gpu=False),
    params:
        more=POTENTIAL_SPLIT,


use rule plot as potential_plot with:
    input:
        **evaluated("potential", "cells.csv"),
    output:
        **figure("potential", "from four segments to V Å"),
        **figure(
            "potential", "why 54 dB is 27 dB, and how wide a cell must be", "scale"
        ),
    wildcard_constraints:
        method="potential",
    localrule: True


# The user's segmented images: counts → shares of the beam → potential, by the network of the corrected arm.
use rule check as potential_apply_check with:
    output:
        **artifacts("apply/{name}/check", "shares.npz", "report.json"),
    wildcard_constraints:
        method="potential",
    params:
        more=options(microscope=POTENTIAL.microscope),


use rule apply as potential_apply_image with:
    input:
        shares=rules.potential_apply_check.output.shares,
        report=rules.potential_apply_check.output.report,
        weights=recommended_weights("potential", "finetune"),
        shard="<results>/potential/synthesize/train/shard0.npz",
    output:
        **image_artifacts("potential"),
    wildcard_constraints:
        method="potential",
    params:
        settings=name_and_precision,
        more=options(batch_size=section("potential", "predict").network.batch_size),
