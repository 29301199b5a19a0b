# The user's own 4D-STEM scans: prepared scan → a network for its probe → adapted to its patterns → phase image.


rule diffractive_imaging_apply_prepare:
    input:
        code=code("diffractive_imaging", "prepare"),
        patterns=lambda wildcards: own_data(
            "diffractive_imaging", wildcards.name
        ).patterns,
        positions=lambda wildcards: listed(
            own_data("diffractive_imaging", wildcards.name).positions
        ),
        probe=lambda wildcards: listed(
            own_data("diffractive_imaging", wildcards.name).probe.file
        ),
    output:
        scan="<results>/diffractive_imaging/apply/{name}/prepare/scan.npz",
        report="<results>/diffractive_imaging/apply/{name}/prepare/report.json",
        provenance="<results>/diffractive_imaging/apply/{name}/prepare/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/apply_{name}_prepare.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/apply_{name}_prepare.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=0,
    params:
        settings=lambda wildcards: as_arguments(
            own_data("diffractive_imaging", wildcards.name)
        ),
        files=lambda wildcards, input: flags(
            **{"positions-file": input.positions, "probe-file": input.probe}
        ),
    shell:
        "python -m workflow_scripts.diffractive_imaging.prepare {params.settings:q}"
        " --patterns-file {input.patterns:q} {params.files:q}"
        " --scan {output.scan:q} --report {output.report:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_apply_synthesize:
    input:
        code=code("diffractive_imaging", "synthesize"),
        illumination=rules.diffractive_imaging_apply_prepare.output.scan,
        train=lambda wildcards: job_inputs(
            section("diffractive_imaging", "synthesize").photographs,
            "train",
            "train",
            int(wildcards.shard),
            section("diffractive_imaging", "synthesize").train_shards,
        ),
        validation=lambda wildcards: job_inputs(
            section("diffractive_imaging", "synthesize").photographs,
            "validation",
            "train",
            int(wildcards.shard),
            section("diffractive_imaging", "synthesize").train_shards,
        ),
    output:
        arrays="<results>/diffractive_imaging/apply/{name}/synthesize/shard{shard}.npz",
        provenance="<results>/diffractive_imaging/apply/{name}/synthesize/shard{shard}.provenance.json",
    log:
        "<results>/logs/diffractive_imaging/apply_{name}_synthesize_{shard}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/apply_{name}_synthesize_{shard}.tsv"
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=0,
    params:
        settings=settings("diffractive_imaging", "synthesize"),
        files=lambda wildcards, input: flags(
            train=input.train, validation=input.validation
        ),
    shell:
        "python -m workflow_scripts.diffractive_imaging.synthesize --split train --shard {wildcards.shard}"
        " {params.settings:q} --illumination {input.illumination:q} {params.files:q}"
        " --arrays {output.arrays:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_apply_pretrain:
    input:
        code=code("diffractive_imaging", "pretrain"),
        shards=expand(
            "<results>/diffractive_imaging/apply/{{name}}/synthesize/shard{shard}.npz",
            shard=range(section("diffractive_imaging", "synthesize").train_shards),
        ),
    output:
        weights="<results>/diffractive_imaging/apply/{name}/pretrain/weights.safetensors",
        last="<results>/diffractive_imaging/apply/{name}/pretrain/last.safetensors",
        history="<results>/diffractive_imaging/apply/{name}/pretrain/history.csv",
        provenance="<results>/diffractive_imaging/apply/{name}/pretrain/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/apply_{name}_pretrain.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/apply_{name}_pretrain.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=STUDY.compute.gpus,
    params:
        settings=lambda wildcards: own_training("diffractive_imaging", wildcards.name),
        precision=STUDY.compute.precision,
        seed=STUDY.seeds[0],
    shell:
        "python -m workflow_scripts.diffractive_imaging.pretrain"
        " --variant corrected --seed {params.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision} --shards {input.shards:q}"
        " --weights {output.weights:q} --last {output.last:q} --history {output.history:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_apply_finetune:
    input:
        code=code("diffractive_imaging", "finetune"),
        weights=rules.diffractive_imaging_apply_pretrain.output.weights,
        measured=rules.diffractive_imaging_apply_prepare.output.scan,
    output:
        weights="<results>/diffractive_imaging/apply/{name}/finetune/weights.safetensors",
        history="<results>/diffractive_imaging/apply/{name}/finetune/history.csv",
        provenance="<results>/diffractive_imaging/apply/{name}/finetune/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/apply_{name}_finetune.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/apply_{name}_finetune.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=120,
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("diffractive_imaging", "finetune"),
        precision=STUDY.compute.precision,
        seed=STUDY.seeds[0],
    shell:
        "python -m workflow_scripts.diffractive_imaging.finetune"
        " --variant corrected --seed {params.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.weights:q} --measured {input.measured:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_apply_image:
    input:
        code=code("diffractive_imaging", "apply"),
        scan=rules.diffractive_imaging_apply_prepare.output.scan,
        report=rules.diffractive_imaging_apply_prepare.output.report,
        pretrained=rules.diffractive_imaging_apply_pretrain.output.weights,
        finetuned=rules.diffractive_imaging_apply_finetune.output.weights,
    output:
        h5="<results>/diffractive_imaging/apply/{name}/phase.h5",
        tiff="<results>/diffractive_imaging/apply/{name}/phase.tif",
        png="<results>/diffractive_imaging/apply/{name}/preview.png",
        quality="<results>/diffractive_imaging/apply/{name}/quality.json",
        provenance="<results>/diffractive_imaging/apply/{name}/provenance.json",
    log:
        "<results>/logs/diffractive_imaging/apply_{name}_image.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/apply_{name}_image.tsv"
    conda:
        "../envs/study.yaml"
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=STUDY.compute.gpus,
    params:
        settings=settings("diffractive_imaging", "predict"),
        precision=STUDY.compute.precision,
    shell:
        "python -m workflow_scripts.diffractive_imaging.apply --name {wildcards.name} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --scan {input.scan:q} --report {input.report:q}"
        " --pretrained {input.pretrained:q} --finetuned {input.finetuned:q}"
        " --h5 {output.h5:q} --tiff {output.tiff:q} --png {output.png:q} --quality {output.quality:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_apply:
    input:
        expand(
            "<results>/diffractive_imaging/apply/{name}/phase.h5",
            name=STUDY.apply.diffractive_imaging,
        ),
