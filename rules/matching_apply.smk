# The user's own patterns and crystal: images or a scan → orientations, by the network of the corrected arm.
from workflow_scripts.matching.own_settings import (
    pattern_files as matching_pattern_files,
)
from workflow_scripts.matching.settings import is_file as matching_is_file

try:
    for name, entry in STUDY.apply.matching.items():
        matching_pattern_files(entry.patterns, f"apply.matching.{name}.patterns")
except InputError as error:
    raise WorkflowError(str(error)) from None


rule matching_apply_prepare:
    input:
        code=code("matching", "prepare"),
        patterns=lambda wildcards: matching_pattern_files(
            own_data("matching", wildcards.name).patterns
        ),
        crystal=lambda wildcards: [
            path
            for path in [own_data("matching", wildcards.name).crystal]
            if matching_is_file(path)
        ],
    output:
        report="<results>/matching/apply/{name}/prepare/report.json",
        provenance="<results>/matching/apply/{name}/prepare/provenance.json",
    log:
        "<results>/logs/matching/apply_{name}_prepare.log",
    benchmark:
        "<results>/benchmarks/matching/apply_{name}_prepare.tsv"
    priority: 10  # a mistake in the patterns shows before a network is trained
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=0,
    params:
        settings=lambda wildcards: as_arguments(own_data("matching", wildcards.name)),
        diffraction=as_arguments(
            section("matching", "synthesize").diffraction, "diffraction."
        ),
        files=lambda wildcards, input: flags(**{"crystal-file": input.crystal}),
    shell:
        "python -m workflow_scripts.matching.prepare {params.settings:q} {params.diffraction:q}"
        " --pattern-files {input.patterns:q} {params.files:q}"
        " --report {output.report:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_apply_patterns:
    input:
        code=code("matching", "apply"),
        patterns=rules.matching_apply_prepare.input.patterns,
        crystal=rules.matching_apply_prepare.input.crystal,
        report=rules.matching_apply_prepare.output.report,
        shard="<results>/matching/synthesize/train/shard0.npz",
        weights=expand(
            "<results>/matching/finetune/corrected/seed{seed}/weights.safetensors",
            seed=STUDY.seeds[0],
        ),
    output:
        table="<results>/matching/apply/{name}/orientations.csv",
        rotations="<results>/matching/apply/{name}/orientations.npz",
        png="<results>/matching/apply/{name}/overview.png",
        quality="<results>/matching/apply/{name}/quality.json",
        provenance="<results>/matching/apply/{name}/provenance.json",
    log:
        "<results>/logs/matching/apply_{name}_patterns.log",
    benchmark:
        "<results>/benchmarks/matching/apply_{name}_patterns.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=STUDY.compute.gpus,
    params:
        settings=lambda wildcards: as_arguments(own_data("matching", wildcards.name)),
        diffraction=as_arguments(
            section("matching", "synthesize").diffraction, "diffraction."
        ),
        observation=as_arguments(
            section("matching", "synthesize").observation, "observation."
        ),
        batch_size=section("matching", "predict").batch_size,
        precision=STUDY.compute.precision,
        files=lambda wildcards, input: flags(**{"crystal-file": input.crystal}),
    shell:
        "python -m workflow_scripts.matching.apply --name {wildcards.name} --seed 0"
        " {params.settings:q} {params.diffraction:q} {params.observation:q}"
        " --batch-size {params.batch_size} --gpus {resources.gpu} --precision {params.precision}"
        " --pattern-files {input.patterns:q} {params.files:q} --report {input.report:q}"
        " --shard {input.shard:q} --weights {input.weights:q}"
        " --table {output.table:q} --rotations {output.rotations:q} --png {output.png:q}"
        " --quality {output.quality:q} --provenance {output.provenance:q} 2> {log:q}"


rule matching_apply:
    input:
        expand(
            "<results>/matching/apply/{name}/orientations.csv",
            name=STUDY.apply.matching,
        ),
