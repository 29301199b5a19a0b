# 4D-STEM patterns to phase images: photographs → phase objects → patterns → network → stitched images → figures.
PHASE = section("diffractive_imaging", "synthesize")


use rule synthesize as diffractive_imaging_synthesize with:
    input:
        unpack(lambda wildcards: PHASE.inputs(wildcards)),
    wildcard_constraints:
        method="diffractive_imaging",
    resources:
        **job_resources("diffractive_imaging", None, times=5, gpu=False),
    params:
        files=lambda wildcards: file_digest(sum(PHASE.inputs(wildcards).values(), [])),


use rule pretrain as diffractive_imaging_pretrain with:
    output:
        **artifacts("pretrain/{variant}/seed{seed}", "last.safetensors", *TRAINED),
    wildcard_constraints:
        method="diffractive_imaging",
    resources:
        **job_resources("diffractive_imaging", "train", times=5, runtime=240),


use rule finetune as diffractive_imaging_finetune with:
    input:
        pretrained=pretrained,
        measured="<results>/{method}/synthesize/test/shard0.npz",
    wildcard_constraints:
        method="diffractive_imaging",
    resources:
        **job_resources("diffractive_imaging", "test", times=2, runtime=120),


use rule predict as diffractive_imaging_predict with:
    wildcard_constraints:
        method="diffractive_imaging",
    resources:
        **job_resources("diffractive_imaging", "both", times=3, gpu=gpus_of_estimator),


use rule evaluate as diffractive_imaging_evaluate with:
    output:
        **artifacts(
            "evaluate", "metrics.csv", "by_source.csv", "examples.npz", "transfer.csv"
        ),
    wildcard_constraints:
        method="diffractive_imaging",
    resources:
        **job_resources("diffractive_imaging", "test", times=3, gpu=False),


use rule plot as diffractive_imaging_plot with:
    input:
        **evaluated("diffractive_imaging", "transfer.csv"),
    output:
        **figure("diffractive_imaging", "phase from diffraction patterns"),
        **figure("diffractive_imaging", "scans, doses and faults", "scans"),
    wildcard_constraints:
        method="diffractive_imaging",
    localrule: True


# The user's 4D-STEM scans: checked scan → network trained for its probe → adapted to its patterns → phase image.
use rule check as diffractive_imaging_apply_check with:
    output:
        **artifacts("apply/{name}/check", "scan.npz", "report.json"),
    wildcard_constraints:
        method="diffractive_imaging",


use rule diffractive_imaging_synthesize as diffractive_imaging_apply_synthesize with:
    input:
        unpack(lambda wildcards: PHASE.inputs(wildcards)),
        illumination=rules.diffractive_imaging_apply_check.output.scan,
    output:
        **shard_artifacts("apply/{name}/synthesize/shard{shard}", arrays=".npz"),
    log:
        "<results>/logs/{method}/apply_{name}_synthesize_{shard}.log",
    params:
        more=options(split="train"),


use rule diffractive_imaging_pretrain as diffractive_imaging_apply_pretrain with:
    input:
        shards=shards("diffractive_imaging", "apply/{name}/synthesize"),
    output:
        **artifacts("apply/{name}/pretrain", "last.safetensors", *TRAINED),
    log:
        "<results>/logs/{method}/apply_{name}_pretrain.log",
    params:
        settings=training_settings("dose_min_e", "dose_max_e"),
        more=options(variant="corrected", seed=STUDY.seeds[0]),


use rule diffractive_imaging_finetune as diffractive_imaging_apply_finetune with:
    input:
        pretrained=rules.diffractive_imaging_apply_pretrain.output.weights,
        measured=rules.diffractive_imaging_apply_check.output.scan,
    output:
        **artifacts("apply/{name}/finetune", "weights.safetensors", "history.csv"),
    log:
        "<results>/logs/{method}/apply_{name}_finetune.log",
    params:
        more=options(variant="corrected", seed=STUDY.seeds[0]),


use rule apply as diffractive_imaging_apply_image with:
    input:
        scan=rules.diffractive_imaging_apply_check.output.scan,
        report=rules.diffractive_imaging_apply_check.output.report,
        pretrained=rules.diffractive_imaging_apply_pretrain.output.weights,
        finetuned=rules.diffractive_imaging_apply_finetune.output.weights,
    output:
        **image_artifacts("phase"),
    wildcard_constraints:
        method="diffractive_imaging",
    params:
        settings=name_and_precision,
        more=as_arguments(section("diffractive_imaging", "predict")),
