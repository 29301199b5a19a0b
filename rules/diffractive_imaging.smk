# 4D-STEM patterns to phase images: photographs → phase objects → patterns → network → stitched images → figure.
from workflow_scripts.diffractive_imaging.sources import named_files


rule diffractive_imaging_synthesize:
    input:
        code=code("diffractive_imaging", "synthesize"),
        photographs=lambda wildcards: named_files(
            section("diffractive_imaging", "synthesize").photographs, wildcards.split
        ),
        probe=[
            path
            for path in [section("diffractive_imaging", "synthesize").probe.file]
            if path
        ],
    output:
        arrays="<results>/diffractive_imaging/synthesize/{split}/shard{shard}.npz",
        provenance="<results>/diffractive_imaging/synthesize/{split}/shard{shard}.provenance.json",
    params:
        settings=settings("diffractive_imaging", "synthesize"),
        photographs=lambda wildcards, input: as_flag("photographs", input.photographs),
        probe=lambda wildcards, input: as_flag("probe", input.probe),
    log:
        "<results>/logs/diffractive_imaging/synthesize_{split}_{shard}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/synthesize_{split}_{shard}.tsv"
    wildcard_constraints:
        split="train|test",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=0,
    conda:
        "../envs/study.yaml"
    shell:
        "python -m workflow_scripts.diffractive_imaging.synthesize"
        " --split {wildcards.split} --shard {wildcards.shard} {params.settings:q}"
        " {params.photographs:q} {params.probe:q}"
        " --arrays {output.arrays:q} --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_pretrain:
    input:
        code=code("diffractive_imaging", "pretrain"),
        shards=expand(
            "<results>/diffractive_imaging/synthesize/train/shard{shard}.npz",
            shard=range(section("diffractive_imaging", "synthesize").train_shards),
        ),
    output:
        weights="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/weights.safetensors",
        last="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/last.safetensors",
        history="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/history.csv",
        provenance="<results>/diffractive_imaging/pretrain/{variant}/seed{seed}/provenance.json",
    params:
        settings=settings("diffractive_imaging", "pretrain"),
        precision=STUDY.compute.precision,
    log:
        "<results>/logs/diffractive_imaging/pretrain_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/pretrain_{variant}_seed{seed}.tsv"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=STUDY.compute.gpus,
    conda:
        "../envs/study.yaml"
    shell:
        "python -m workflow_scripts.diffractive_imaging.pretrain"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision} --shards {input.shards:q}"
        " --weights {output.weights:q} --last {output.last:q} --history {output.history:q}"
        " --provenance {output.provenance:q} 2> {log:q}"


rule diffractive_imaging_finetune:
    input:
        code=code("diffractive_imaging", "finetune"),
        weights=rules.diffractive_imaging_pretrain.output.weights,
        scans="<results>/diffractive_imaging/synthesize/test/shard0.npz",
    output:
        weights="<results>/diffractive_imaging/finetune/{variant}/seed{seed}/weights.safetensors",
        history="<results>/diffractive_imaging/finetune/{variant}/seed{seed}/history.csv",
        provenance="<results>/diffractive_imaging/finetune/{variant}/seed{seed}/provenance.json",
    params:
        settings=settings("diffractive_imaging", "finetune"),
        precision=STUDY.compute.precision,
    log:
        "<results>/logs/diffractive_imaging/finetune_{variant}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/diffractive_imaging/finetune_{variant}_seed{seed}.tsv"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=STUDY.compute.gpus,
    conda:
        "../envs/study.yaml"
    shell:
        "python -m workflow_scripts.diffractive_imaging.finetune"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.settings:q}"
        " --gpus {resources.gpu} --precision {params.precision}"
        " --pretrained {input.weights:q} --scans {input.scans:q}"
        " --weights {output.weights:q} --history {output.history:q} --provenance {output.provenance:q} 2> {log:q}"
