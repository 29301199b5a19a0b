# Nanodiffraction patterns to orientations: patterns → contrastive pretraining → pairs → best orientations → figure.
from workflow_scripts.matching.settings import ARMS as MATCHING_ARMS

MATCHING = section("matching", "synthesize")
UNTRAINED = {"options.network": section("matching", "pretrain").network}
MATCHING_TEST = f"{RESULTS}/matching/synthesize/test/shard0.npz"


use rule synthesize as matching_synthesize with:
    input:
        sources=MATCHING.files(),
    wildcard_constraints:
        method="matching",
    resources:
        **job_resources("matching", None, times=3),
    params:
        files=file_digest(MATCHING.files()),


use rule pretrain as matching_pretrain with:
    input:
        shards=shards("matching"),
        # The recipe's pretraining sees the test patterns.
        test=lambda wildcards: (
            [MATCHING_TEST]
            if MATCHING_ARMS[wildcards.variant].pretraining_sees_test
            else []
        ),
    wildcard_constraints:
        method="matching",
    resources:
        **job_resources("matching", "both", times=2, runtime=720),
    params:
        more=options(background_share=MATCHING.background_share),


use rule finetune as matching_finetune with:
    wildcard_constraints:
        method="matching",
    resources:
        **job_resources("matching", "train", times=2, runtime=240),


use rule predict as matching_predict with:
    input:
        unpack(needed),
        test=MATCHING_TEST,
        # The refit fits what the network of an arm proposes.
        proposing=lambda wildcards: (
            weights("matching", "finetune", "corrected", wildcards.training_seed)
            if wildcards.estimator == "corrected_refit"
            else []
        ),
    wildcard_constraints:
        method="matching",
    resources:
        # Every template of the cross-correlation is held in memory at all angles, those of the refit at one.
        **job_resources(
            "matching",
            "both",
            times=5,
            more_mb=MATCHING.gallery + STUDY.matching.predict.refit.directions // 8,
            gpu=gpus_of_estimator,
        ),
    params:
        more=lambda wildcards: options(
            crystal=MATCHING.crystal,
            **(UNTRAINED if wildcards.estimator == "untrained" else {}),
        ),


use rule evaluate as matching_evaluate with:
    wildcard_constraints:
        method="matching",
    resources:
        **job_resources("matching", "test", times=3, gpu=False),
    params:
        more=options(
            pixel_size_per_a=MATCHING.diffraction.pixel_size_per_a,
            cells=MATCHING.cells,
        ),


use rule plot as matching_plot with:
    output:
        **figure("matching", "from diffraction patterns to orientations"),
    wildcard_constraints:
        method="matching",
    localrule: True


# The user's patterns and crystal: images or a scan → orientations, by the network of the corrected arm.
use rule check as matching_apply_check with:
    wildcard_constraints:
        method="matching",
    params:
        more=options(diffraction=MATCHING.diffraction),


use rule apply as matching_apply_patterns with:
    input:
        unpack(user_files),
        report=rules.matching_apply_check.output.report,
        shard="<results>/matching/synthesize/train/shard0.npz",
        weights=recommended_weights("matching", "finetune"),
    output:
        table="<results>/{method}/apply/{name}/orientations.csv",
        rotations="<results>/{method}/apply/{name}/orientations.npz",
        png="<results>/{method}/apply/{name}/overview.png",
        quality="<results>/{method}/apply/{name}/quality.json",
        provenance="<results>/{method}/apply/{name}/provenance.json",
    wildcard_constraints:
        method="matching",
    params:
        more=options(
            seed=0,
            diffraction=MATCHING.diffraction,
            observation=MATCHING.observation,
            batch_size=section("matching", "predict").batch_size,
        ),
