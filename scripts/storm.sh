#!/usr/bin/env bash
# Many at once, at full size: sixteen writers and all kinds of commands killed at random, migrations of the
# same manifests at once, links swapped underneath, recovery of a long log. `cargo test` does a little of each.
#
# Usage: scripts/storm.sh [writers|commands|migrations|links|recovery]…   (all of them)
#
# STRONGROOM_STORM_WRITES, _KILLS, _SECONDS, _WORKERS, _RUNS, _SWAPS and _ENTRIES say how much.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

: "${STRONGROOM_STORM_WRITES:=100000}" "${STRONGROOM_STORM_KILLS:=5000}" "${STRONGROOM_STORM_SECONDS:=180}"
: "${STRONGROOM_STORM_RUNS:=4000}" "${STRONGROOM_STORM_SWAPS:=1000000}" "${STRONGROOM_STORM_ENTRIES:=100000}"
export STRONGROOM_STORM_WRITES STRONGROOM_STORM_KILLS STRONGROOM_STORM_SECONDS
export STRONGROOM_STORM_RUNS STRONGROOM_STORM_SWAPS STRONGROOM_STORM_ENTRIES
# Memory, where there is some: disks differ.
if [[ -z ${TMPDIR:-} && -w /dev/shm ]]; then
    export TMPDIR=/dev/shm
fi

run() {
    RUST_BACKTRACE=0 cargo test --quiet --test it -- --nocapture --test-threads 1 "$@" 2>&1 |
        grep -v -e '^running' -e '^test result: ok' -e '^\.*$'
}

parts=("$@")
((${#parts[@]})) || parts=(writers commands migrations links recovery)
for part in "${parts[@]}"; do
    printf '== %s\n' "$part"
    case $part in
    writers) run storm::writers ;;
    commands)
        for workers in ${STRONGROOM_STORM_WORKERS:-8 32}; do
            STRONGROOM_STORM_WORKERS=$workers run storm::commands
        done
        ;;
    migrations) run many::migrations ;;
    links) run storm::links ;;
    recovery) run storm::recovery ;;
    *)
        printf 'no such part: %s\n' "$part" >&2
        exit 2
        ;;
    esac
done
