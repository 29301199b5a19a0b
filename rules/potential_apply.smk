# The user's own segmented images: counts → shares of the beam → potential, by the network of the corrected arm.


rule potential_apply_prepare:
    input:
        code=code("potential", "prepare"),
        images=lambda wildcards: list(
            own_data("potential", wildcards.name).images or ()
        ),
        patterns=lambda wildcards: listed(
            own_data("potential", wildcards.name).patterns
        ),
    output:
        shares="<results>/potential/apply/{name}/prepare/shares.npz",
        report="<results>/potential/apply/{name}/prepare/report.json",
        provenance="<results>/potential/apply/{name}/prepare/provenance.json",
    log:
        "<results>/logs/potential/apply_{name}_prepare.log",
    benchmark:
        "<results>/benchmarks/potential/apply_{name}_prepare.tsv"
    priority: 10  # a mistake in the images shows before a network is trained
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=0,
    params:
        settings=lambda wildcards: as_arguments(own_data("potential", wildcards.name)),
        microscope=as_arguments(
            section("potential", "synthesize").microscope, "microscope."
        ),
        files=lambda wildcards, input: flags(
            **{"image-files": input.images, "patterns-file": input.patterns}
        ),
    shell:
        "python -m workflow_scripts.potential.prepare {params.settings:q} {params.microscope:q} {params.files:q}"
        " --shares {output.shares:q} --report {output.report:q} --provenance {output.provenance:q} 2> {log:q}"


rule potential_apply_image:
    input:
        code=code("potential", "apply"),
        shares=rules.potential_apply_prepare.output.shares,
        report=rules.potential_apply_prepare.output.report,
        weights=expand(
            "<results>/potential/finetune/corrected/seed{seed}/weights.safetensors",
            seed=STUDY.seeds[0],
        ),
        shard="<results>/potential/synthesize/train/shard0.npz",
    output:
        h5="<results>/potential/apply/{name}/potential.h5",
        tiff="<results>/potential/apply/{name}/potential.tif",
        png="<results>/potential/apply/{name}/preview.png",
        quality="<results>/potential/apply/{name}/quality.json",
        provenance="<results>/potential/apply/{name}/provenance.json",
    log:
        "<results>/logs/potential/apply_{name}_image.log",
    benchmark:
        "<results>/benchmarks/potential/apply_{name}_image.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=STUDY.compute.gpus,
    params:
        batch_size=section("potential", "predict").batch_size,
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.potential.apply --name {wildcards.name} --batch-size {params.batch_size}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --shares {input.shares:q} --report {input.report:q}"
        " --weights {input.weights:q} --shard {input.shard:q}"
        " --h5 {output.h5:q} --tiff {output.tiff:q} --png {output.png:q} --quality {output.quality:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule potential_apply:
    input:
        expand(
            "<results>/potential/apply/{name}/potential.h5",
            name=STUDY.apply.potential,
        ),
