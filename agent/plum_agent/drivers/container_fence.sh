#!/bin/sh
# Ends an exclusive container at its deadline when no agent does: what the shim does for a process.
#
#   container_fence.sh RUN FENCE MARKER
#
#   RUN      folder of the run: `fenced` is written when the deadline was missed; the watcher ends when the run has `ended`
#   FENCE    file with the time at which the run must be gone, in hundredths of a second since boot
#   MARKER   value of PLUM_RUN in the environment of every process of the run
#
# It begins before the container does, and ends with the run: it looks whenever the deadline that it knew has come.
run=$1 fence=$2 marker=$3
trap '' HUP INT TERM
exec </dev/null >/dev/null 2>&1
cd /

ours() { grep -alsF "PLUM_RUN=$marker" /proc/[0-9]*/environ; }

now() {
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}"
}

while :; do
    until=0
    read -r until <"$fence"
    left=$((until - $(now)))
    [ "$left" -gt 0 ] || break
    [ -e "$run/ended" ] || [ ! -d "$run" ] && exit
    part=$((left % 100))
    [ "$part" -gt 9 ] || part=0$part
    sleep "$((left / 100)).$part"
done
[ -e "$run/ended" ] && exit
echo "$until" >"$run/fenced"
for round in 1 2 3; do
    for environ in $(ours); do
        pid=${environ#/proc/}
        kill -KILL "${pid%/environ}"
    done
    sleep 0.05
done
