#!/bin/sh
# The parent of one run. It outlives the agent, so the output and the exit code of the run do too.
#
#   shim.sh RUN WORK FENCE PROGRAM...
#
#   RUN      folder: env.sh, cgroups and stdin are read; shim, process, exit and fenced are written; stdout.log and stderr.log grow
#   WORK     folder the program starts in
#   FENCE    file with the time at which the run must be gone, in hundredths of a second since boot; - for none
#   PROGRAM  begins with setsid, so the run is a session and a process group of its own
#
# A file counts once its line is complete: it ends with a newline and is written in one piece. The program runs in the
# foreground, because a shell starts background commands with SIGINT and SIGQUIT ignored. The shell says on its stderr
# (shim.err) when a signal ended the program: that tells `exit 137` from SIGKILL.
run=$1 work=$2 fence=$3
shift 3
trap '' HUP INT TERM
umask 022
cd /

now() { # hundredths of a second since boot
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}"
}

is_ours() { # is $1 still the process that was started as such? Field 22 is its start time
    read -r was <"$run/process" && read -r is <"/proc/$1/stat" || return 1
    was=${was##*) } is=${is##*) }
    was=$(set -- $was && shift 19 && echo "$1") is=$(set -- $is && shift 19 && echo "$1")
    [ "$was" = "$is" ]
}

kill_all() {
    read -r pid _ <"$run/process" 2>/dev/null && is_ours "$pid" && kill -KILL -- "-$pid" "$pid"
    if [ -f "$run/cgroups" ]; then
        while read -r group; do
            while read -r pid; do kill -KILL "$pid"; done <"$group"
        done <"$run/cgroups"
    fi
    for environ in $(grep -alsF "PLUM_RUN=$PLUM_SHIM" /proc/[0-9]*/environ); do
        pid=${environ#/proc/}
        kill -KILL "${pid%/environ}"
    done
}

watch_fence() {
    while :; do
        until=0
        read -r until <"$fence"
        left=$((until - $(now)))
        [ "$left" -gt 0 ] || break
        part=$((left % 100))
        [ "$part" -gt 9 ] || part=0$part
        sleep "$((left / 100)).$part"
    done
    echo "$until" >"$run/fenced"
    for round in 1 2 3; do
        kill_all
        sleep 0.05
    done
}

exec 2>"$run/shim.err"
read -r self </proc/self/stat
printf '%s\n' "$self" >"$run/shim"

watcher=
if [ "$fence" != - ]; then
    watch_fence >/dev/null 2>&1 &
    watcher=$!
fi

(
    trap - HUP INT TERM
    input=/dev/null
    [ ! -f "$run/stdin" ] || input=$run/stdin
    exec >>"$run/stdout.log" 2>>"$run/stderr.log" <"$input"
    if [ -f "$run/cgroups" ]; then
        while read -r group; do
            { echo 0 >"$group"; } 2>/dev/null || echo "$group" >>"$run/unlimited"
        done <"$run/cgroups"
    fi
    [ -z "$PLUM_FILES" ] || ulimit -S -n "$PLUM_FILES"
    cd "$work" || exit 126
    read -r self </proc/self/stat
    printf '%s\n' "$self" >"$run/process"
    unset PWD OLDPWD SHLVL PLUM_SHIM PLUM_FILES
    . "$run/env.sh"
    exec "$@"
)
printf '%s\n' "$?" >"$run/exit"
[ -z "$watcher" ] || kill "$watcher" 2>/dev/null
