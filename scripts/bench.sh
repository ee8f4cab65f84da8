#!/usr/bin/env bash
# Runs the benchmarks, each figure beside that of a bare program doing the same work in
# the same run. What follows "--" goes to each benchmark.
#   scripts/bench.sh [NAME...] [-- OPTION...]      NAME is a file or folder of benches/, by default all of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

names=()
while (($#)) && [[ $1 != -- ]]; do
    names+=("$1")
    shift
done
[[ ${1-} == -- ]] && shift
if ((!${#names[@]})); then
    for file in benches/*.rs benches/*/main.rs; do
        name=${file#benches/}
        name=${name%/main.rs}
        names+=("${name%.rs}")
    done
fi
for name in "${names[@]}"; do
    printf '\n== %s\n' "$name"
    cargo bench --quiet --bench "$name" -- "$@"
done
