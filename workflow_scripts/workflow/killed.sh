# Called with the exit code of every job's command, by the trap in rules/common.smk. Snakemake says no more of a job that
# was killed than of one that failed, and its log is empty.
if [ "$1" -eq 137 ]; then
    echo "error: this job was killed (signal 9), as happens when the memory runs out; run again with fewer jobs at once," \
        "or give it more memory; a training goes on from its last checkpoint" >&2
fi
