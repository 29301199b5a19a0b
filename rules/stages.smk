# Templates: the rules that all methods share, with the files that they have in common. A method's rule file inherits them
# under its own name, with its inputs and with what differs. Inheritance merges `params` by keyword and replaces every other
# directive as a whole, and a rule that runs where Snakemake runs must say `localrule` itself. The wildcard `method` matches
# nothing here, so that a template itself makes no file.


rule synthesize:
    output:
        **shard_artifacts("synthesize/{split}/shard{shard}", arrays=".npz"),
    log:
        "<results>/logs/{method}/synthesize_{split}_{shard}.log",
    wildcard_constraints:
        method=NO_METHOD,
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        **tracked("synthesize"),
        more=[],
        arguments=arguments,
    shell:
        COMMAND


use rule synthesize as pretrain with:
    input:
        shards=lambda wildcards: shards(wildcards.method),
    output:
        **artifacts("pretrain/{variant}/seed{seed}", *TRAINED),
    log:
        "<results>/logs/{method}/pretrain_{variant}_seed{seed}.log",
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=minutes(1440),
        gpu=STUDY.compute.gpus,
    params:
        **tracked("pretrain"),


use rule pretrain as finetune with:
    input:
        pretrained=pretrained,
        shards=lambda wildcards: shards(wildcards.method),
    output:
        **artifacts("finetune/{variant}/seed{seed}", *TRAINED),
    log:
        "<results>/logs/{method}/finetune_{variant}_seed{seed}.log",
    params:
        **tracked("finetune"),


use rule pretrain as predict with:
    input:
        unpack(needed),
        test="<results>/{method}/synthesize/test/shard0.npz",
    output:
        **artifacts("predict/{estimator}/seed{training_seed}", "predictions.npz"),
    log:
        "<results>/logs/{method}/predict_{estimator}_seed{training_seed}.log",
    resources:
        mem_mb=16000,
        runtime=minutes(240),
        gpu=gpus_of_estimator,
    params:
        **tracked_prediction(),


use rule synthesize as evaluate with:
    input:
        test="<results>/{method}/synthesize/test/shard0.npz",
        predictions=lambda wildcards: predictions(wildcards.method),
        ablated=lambda wildcards: ablated(wildcards.method),
    output:
        **artifacts("evaluate", "metrics.csv", "by_source.csv", "examples.npz"),
    log:
        "<results>/logs/{method}/evaluate.log",
    threads: 2
    params:
        **tracked("evaluate"),


use rule synthesize as plot with:
    input:
        metrics="<results>/{method}/evaluate/metrics.csv",
        examples="<results>/{method}/evaluate/examples.npz",
        estimators=lambda wildcards: beside_code(REGISTRY_FILE, [wildcards.method]),
    output:
        **artifacts("plot"),
    log:
        "<results>/logs/{method}/plot.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        **tracked("plot", data=[REGISTRY_FILE]),


# The user's files are checked first, so that a mistake in them shows before a network is trained.
use rule synthesize as check with:
    input:
        unpack(user_files),
    output:
        **artifacts("apply/{name}/check", "report.json"),
    log:
        "<results>/logs/{method}/apply_{name}_check.log",
    priority: 10
    threads: STUDY.compute.threads
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        **tracked_apply("apply.check"),


use rule pretrain as apply with:
    output:
        **artifacts("apply/{name}", "quality.json"),
    log:
        "<results>/logs/{method}/apply_{name}.log",
    params:
        **tracked_apply("apply.apply"),
