# Cryo-EM particles to poses and class averages: stacks → pair-wise network → joint network → poses → figure.
ALIGNMENT_TEST = {
    "stack": "<results>/alignment/synthesize/test/shard0.mrcs",
    "star": "<results>/alignment/synthesize/test/shard0.star",
}
ALIGNMENT_SOURCES = section("alignment", "synthesize").files()


use rule synthesize as alignment_synthesize with:
    input:
        sources=ALIGNMENT_SOURCES,
    output:
        **shard_artifacts(
            "synthesize/{split}/shard{shard}",
            stack=".mrcs",
            star=".star",
            centres="_centres.mrcs",
        ),
    wildcard_constraints:
        method="alignment",
    resources:
        **job_resources("alignment", None, times=3),
    params:
        files=file_digest(ALIGNMENT_SOURCES),


use rule pretrain as alignment_pretrain with:
    input:
        stacks=shards("alignment", suffix=".mrcs"),
        stars=shards("alignment", suffix=".star"),
        centres=shards("alignment", suffix="_centres.mrcs"),
    wildcard_constraints:
        method="alignment",
    resources:
        **job_resources("alignment", "train", times=3, runtime=720),
    params:
        more=options(
            microscope=section("alignment", "synthesize").microscope,
            largest_shift_px=section("alignment", "synthesize").largest_shift_px,
        ),


use rule finetune as alignment_finetune with:
    input:
        **ALIGNMENT_TEST,
        pretrained=pretrained,
        centres=shards("alignment", suffix="_centres.mrcs"),
    wildcard_constraints:
        method="alignment",
    resources:
        **job_resources("alignment", "train", times=3, runtime=240),
    params:
        more=options(microscope=section("alignment", "synthesize").microscope),


use rule predict as alignment_predict with:
    input:
        unpack(needed),
        **ALIGNMENT_TEST,
    wildcard_constraints:
        method="alignment",
    resources:
        **job_resources("alignment", "test", times=2, gpu=gpus_of_estimator),


use rule evaluate as alignment_evaluate with:
    input:
        **ALIGNMENT_TEST,
        centres="<results>/alignment/synthesize/test/shard0_centres.mrcs",
        predictions=predictions("alignment"),
    wildcard_constraints:
        method="alignment",
    resources:
        **job_resources("alignment", "test", times=2, gpu=False),


use rule plot as alignment_plot with:
    output:
        **figure("alignment", "from noisy particles to poses"),
    wildcard_constraints:
        method="alignment",
    localrule: True


# The user's particles: stack or list → poses, aligned stack, average, by the network of the corrected arm.
ALIGNMENT_SIZES = options(
    box_px=section("alignment", "synthesize").box_px,
    batch_size=section("alignment", "predict").network.batch_size,
)


use rule check as alignment_apply_check with:
    wildcard_constraints:
        method="alignment",
    params:
        more=ALIGNMENT_SIZES,


use rule apply as alignment_apply_stack with:
    input:
        unpack(user_files),
        report=rules.alignment_apply_check.output.report,
        weights=recommended_weights("alignment", "finetune"),
    output:
        stack="<results>/{method}/apply/{name}/aligned.mrcs",
        star="<results>/{method}/apply/{name}/aligned.star",
        xmd="<results>/{method}/apply/{name}/aligned.xmd",
        average="<results>/{method}/apply/{name}/average.mrc",
        png="<results>/{method}/apply/{name}/before_after.png",
        quality="<results>/{method}/apply/{name}/quality.json",
        provenance="<results>/{method}/apply/{name}/provenance.json",
    wildcard_constraints:
        method="alignment",
    params:
        more=ALIGNMENT_SIZES
        + options(rounds=section("alignment", "predict").network.rounds),
