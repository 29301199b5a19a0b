#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: no accounting database, two GPUs that are only counted, the
# partitions main and gpu. Needs root.
#   one_node_slurm.sh install             get slurm-wlm and munge by apt where they are missing; says why not where it cannot
#   one_node_slurm.sh start [--install]
#   one_node_slurm.sh stop
set -euo pipefail
mark="# Written by tests/cluster/one_node_slurm.sh; it is removed by its stop."
configuration=/etc/slurm/slurm.conf
gpus=/etc/slurm/gres.conf
runs=/run/one_node_slurm # the daemons' process ids
unset SLURM_CONF

fail() {
    echo "one_node_slurm: $*" >&2
    exit 1
}

ours() { [[ ! -e $1 ]] || grep -qxF "$mark" "$1"; }

installed() { command -v slurmctld slurmd munged sbatch > /dev/null; }

possible() {
    [[ $(uname) == Linux ]] || fail "Slurm runs on Linux only"
    ((EUID == 0)) || fail "starting Slurm's daemons needs root"
    for file in "$configuration" "$gpus"; do
        ours "$file" || fail "$file is somebody else's: this machine has a Slurm already; it is left alone"
    done
}

get_packages() {
    possible
    installed && return
    command -v apt-get > /dev/null || fail "slurm-wlm and munge are not installed, and there is no apt to get them"
    local said
    # Debian's packages may start services; this Slurm's own daemons are started by `start`.
    export DEBIAN_FRONTEND=noninteractive
    said=$( (apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge) 2>&1) ||
        fail "apt could not install slurm-wlm and munge: $(tail -n 1 <<< "$said")"
    installed || fail "slurm-wlm and munge are installed, but slurmctld, slurmd, munged or sbatch is not there"
}

runs_here() { [[ -s $runs/$1.pid ]] && kill -0 "$(< "$runs/$1.pid")" 2> /dev/null; }

write_configuration() {
    local host cpus memory
    host=$(uname -n)
    host=${host%%.*}
    # Two CPUs at least, so that two jobs run side by side. The node claims more memory than it may have, since what a
    # rule asks for is meant for larger scales than a test runs; nothing enforces it here.
    cpus=$(($(nproc) < 2 ? 2 : $(nproc)))
    memory=$((64 * 1024))
    mkdir -p /etc/slurm "$runs" /var/spool/one_node_slurm/{controller,node}
    cat > "$configuration" << END
$mark
ClusterName=one_node
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
StateSaveLocation=/var/spool/one_node_slurm/controller
SlurmdSpoolDir=/var/spool/one_node_slurm/node
SlurmctldPidFile=$runs/slurmctld.pid
SlurmdPidFile=$runs/slurmd.pid
SlurmctldLogFile=/var/spool/one_node_slurm/slurmctld.log
SlurmdLogFile=/var/spool/one_node_slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=300
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
END
    printf '%s\n' "$mark" "NodeName=$host Name=gpu File=/dev/tty[0-1]" > "$gpus"
}

start_munge() {
    pgrep -x munged > /dev/null && return
    [[ -s /etc/munge/munge.key ]] || (umask 077 && head -c 1024 /dev/urandom > /etc/munge/munge.key)
    mkdir -p /run/munge /var/log/munge /var/lib/munge
    chown -R munge: /run/munge /var/log/munge /var/lib/munge /etc/munge
    chmod 755 /run/munge
    su -s /bin/sh munge -c "$(command -v munged)"
    cp /run/munge/munged.pid "$runs"
}

start() {
    possible
    if [[ ${1-} == --install ]]; then get_packages; fi
    installed || fail "slurm-wlm and munge are not installed; add --install"
    if ! runs_here slurmctld || ! runs_here slurmd; then
        stop_daemons
        write_configuration
        start_munge
        slurmctld -c # without what an earlier controller left
        slurmd
    fi
    for _ in $(seq 60); do
        if sinfo --noheader --format=%T 2> /dev/null | grep -qE '^(idle|mixed|allocated)$'; then
            sinfo
            return
        fi
        sleep 1
    done
    tail -n 20 /var/spool/one_node_slurm/*.log >&2
    fail "the node did not come up in a minute; its logs are above"
}

stop_daemons() {
    for daemon in slurmd slurmctld munged; do
        if runs_here $daemon; then
            kill "$(< "$runs/$daemon.pid")"
            for _ in $(seq 50); do runs_here $daemon && sleep 0.2 || break; done
        fi
        rm -f "$runs/$daemon.pid"
    done
}

stop() {
    ((EUID == 0)) || fail "stopping Slurm's daemons needs root"
    ours "$configuration" && ours "$gpus" || fail "$configuration is somebody else's: it is left alone"
    if runs_here slurmctld; then
        timeout 10 scancel --user="$(id -un)" 2> /dev/null || true
        for _ in $(seq 20); do [[ -z $(timeout 5 squeue -h 2> /dev/null) ]] && break || sleep 0.5; done
    fi
    stop_daemons
    rm -rf "$configuration" "$gpus" "$runs" /var/spool/one_node_slurm
}

case ${1-} in
    start) start "${2-}" ;;
    stop) stop ;;
    install) get_packages ;;
    *) fail "install, start [--install] or stop" ;;
esac
