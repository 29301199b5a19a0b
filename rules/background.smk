# Raw X-ray tiles to their flat fields and optical density: sessions → tiles → network → background → figures.


use rule synthesize as background_synthesize with:
    wildcard_constraints:
        method="background",
    resources:
        **job_resources("background", None, times=4, runtime=120),


use rule pretrain as background_pretrain with:
    wildcard_constraints:
        method="background",
    resources:
        **job_resources("background", "train", times=3, runtime=1440),


use rule finetune as background_finetune with:
    wildcard_constraints:
        method="background",
    resources:
        **job_resources("background", "train", times=3, runtime=240),


use rule predict as background_predict with:
    wildcard_constraints:
        method="background",
    resources:
        **job_resources(
            "background", "test", times=4, runtime=240, gpu=gpus_of_estimator
        ),


use rule evaluate as background_evaluate with:
    wildcard_constraints:
        method="background",
    resources:
        **job_resources("background", "test", times=8, gpu=False),


use rule plot as background_plot with:
    output:
        **figure("background", "tiles without their flat field"),
    wildcard_constraints:
        method="background",
    localrule: True


# The user's tiles: report on the files → network adapted to the microscope → corrected tiles → mosaic.
use rule check as background_apply_check with:
    wildcard_constraints:
        method="background",


use rule finetune as background_apply_adapt with:
    input:
        unpack(user_files),
        report=rules.background_apply_check.output.report,
        shards=shards("background"),
        pretrained=recommended_weights("background", "pretrain"),
    output:
        **artifacts("apply/{name}/adapt", *TRAINED),
    log:
        "<results>/logs/{method}/apply_{name}_adapt.log",
    wildcard_constraints:
        method="background",
    params:
        **tracked_apply("apply.adapt", prefix="entry."),
        more=options(training=section("background", "finetune"), seed=STUDY.seeds[0]),


use rule apply as background_apply_tiles with:
    input:
        unpack(user_files),
        report=rules.background_apply_check.output.report,
        weights=rules.background_apply_adapt.output.weights,
    output:
        corrected="<results>/{method}/apply/{name}/corrected.tif",
        background="<results>/{method}/apply/{name}/background.tif",
        uncertainty="<results>/{method}/apply/{name}/uncertainty.tif",
        png="<results>/{method}/apply/{name}/preview.png",
        quality="<results>/{method}/apply/{name}/quality.json",
        provenance="<results>/{method}/apply/{name}/provenance.json",
    wildcard_constraints:
        method="background",
    params:
        **tracked_apply("apply.apply", prefix="entry."),
        more=options(sampling=section("background", "predict").network),


use rule check as background_apply_mosaic with:
    input:
        unpack(user_files),
        corrected=rules.background_apply_tiles.output.corrected,
        quality=rules.background_apply_tiles.output.quality,
    output:
        mosaic="<results>/{method}/apply/{name}/mosaic.tif",
        png="<results>/{method}/apply/{name}/mosaic.png",
        provenance="<results>/{method}/apply/{name}/mosaic.provenance.json",
    log:
        "<results>/logs/{method}/apply_{name}_mosaic.log",
    wildcard_constraints:
        method="background",
    params:
        **tracked_apply("apply.assemble"),
