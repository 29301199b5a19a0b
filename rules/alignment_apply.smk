# The user's own particles: stack or list → poses, aligned stack, average, by the network of the corrected arm.
from workflow_scripts.alignment.own_settings import (
    listed_stacks as alignment_listed_stacks,
)


rule alignment_apply_prepare:
    input:
        code=code("alignment", "prepare"),
        particles=lambda wildcards: own_data("alignment", wildcards.name).particles,
        stacks=lambda wildcards: alignment_listed_stacks(
            own_data("alignment", wildcards.name).particles
        ),
        reference=lambda wildcards: listed(
            own_data("alignment", wildcards.name).reference
        ),
    output:
        report="<results>/alignment/apply/{name}/prepare/report.json",
        provenance="<results>/alignment/apply/{name}/prepare/provenance.json",
    log:
        "<results>/logs/alignment/apply_{name}_prepare.log",
    benchmark:
        "<results>/benchmarks/alignment/apply_{name}_prepare.tsv"
    priority: 10  # a mistake in the images shows before a network is trained
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        settings=lambda wildcards: as_arguments(own_data("alignment", wildcards.name)),
        box=section("alignment", "synthesize").box_px,
        batch_size=section("alignment", "predict").batch_size,
        files=lambda wildcards, input: flags(
            **{"stack-files": input.stacks, "reference-file": input.reference}
        ),
    shell:
        "python -m workflow_scripts.alignment.prepare {params.settings:q}"
        " --box-px {params.box} --batch-size {params.batch_size}"
        " --particles-file {input.particles:q} {params.files:q}"
        " --report {output.report:q} --provenance {output.provenance:q} 2> {log:q}"


rule alignment_apply_stack:
    input:
        code=code("alignment", "apply"),
        particles=lambda wildcards: own_data("alignment", wildcards.name).particles,
        stacks=lambda wildcards: alignment_listed_stacks(
            own_data("alignment", wildcards.name).particles
        ),
        reference=lambda wildcards: listed(
            own_data("alignment", wildcards.name).reference
        ),
        report=rules.alignment_apply_prepare.output.report,
        weights=expand(
            "<results>/alignment/finetune/corrected/seed{seed}/weights.safetensors",
            seed=STUDY.seeds[0],
        ),
    output:
        stack="<results>/alignment/apply/{name}/aligned.mrcs",
        star="<results>/alignment/apply/{name}/aligned.star",
        xmd="<results>/alignment/apply/{name}/aligned.xmd",
        average="<results>/alignment/apply/{name}/average.mrc",
        png="<results>/alignment/apply/{name}/before_after.png",
        quality="<results>/alignment/apply/{name}/quality.json",
        provenance="<results>/alignment/apply/{name}/provenance.json",
    log:
        "<results>/logs/alignment/apply_{name}_stack.log",
    benchmark:
        "<results>/benchmarks/alignment/apply_{name}_stack.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=STUDY.compute.gpus,
    params:
        settings=lambda wildcards: as_arguments(own_data("alignment", wildcards.name)),
        box=section("alignment", "synthesize").box_px,
        batch_size=section("alignment", "predict").batch_size,
        rounds=section("alignment", "predict").rounds,
        precision=STUDY.compute.precision,
        files=lambda wildcards, input: flags(
            **{"stack-files": input.stacks, "reference-file": input.reference}
        ),
    shell:
        "python -m workflow_scripts.alignment.apply --name {wildcards.name} {params.settings:q}"
        " --box-px {params.box} --batch-size {params.batch_size} --rounds {params.rounds}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --particles-file {input.particles:q} {params.files:q} --report {input.report:q} --weights {input.weights:q}"
        " --stack {output.stack:q} --star {output.star:q} --xmd {output.xmd:q} --average {output.average:q}"
        " --png {output.png:q} --quality {output.quality:q} --provenance {output.provenance:q} 2> {log:q}"


rule alignment_apply:
    input:
        expand(
            "<results>/alignment/apply/{name}/aligned.star",
            name=STUDY.apply.alignment,
        ),
