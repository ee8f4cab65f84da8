#!/usr/bin/env bash
# Counts the instructions of small fixed workloads and holds them against benches/instructions.txt: fails where
# one takes a tenth more. Counts, unlike times, hardly change from run to run or with what else the machine
# does; they say nothing about the disk. Needs valgrind.
#   scripts/instructions.sh            compare
#   scripts/instructions.sh --update   write the counts down
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kept=$PWD/benches/instructions.txt
compiler=$(rustc --version | tr ' ' _)
if [[ ${1-} != --update && $(sed -n 's/^# //p' "$kept") != "$compiler" ]]; then
    echo "skipped: instruction counts (they were taken with another compiler; $0 --update takes them anew)"
    exit
fi
command -v valgrind >/dev/null || { echo "instructions.sh: valgrind is not installed" >&2; exit 2; }

# The dependencies as the tests use them, the program itself optimized.
options=()
for option in opt-level=2 debug-assertions=false overflow-checks=false; do
    options+=(--config "profile.dev.package.strongroom.$option")
done
cargo build --locked --quiet --bin strongroom "${options[@]}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$work/strongroom
cp "${CARGO_TARGET_DIR:-target}/debug/strongroom" "$program"

# Runs at 1.0.0 with a manifest of some 3 KiB, an input and an output.
tree=$work/tree/artifacts
for ((n = 0; n < 150; n++)); do
    run=$(printf '%032x' $((n * 7919 + 1)))
    dir=$tree/job-$((n % 7))/$run
    mkdir -p "$dir/inputs" "$dir/outputs"
    {
        printf '{\n  "schema_version": "1.0.0",\n  "run_id": "%s",\n  "job_ref": "jobs/job-%d/brief.yaml",\n' "$run" $((n % 7))
        printf '  "job_type": "copy",\n  "status": "succeeded",\n  "started_at": "2026-02-28T17:40:08.910Z",\n'
        printf '  "finished_at": "2026-02-28T17:40:09.910Z",\n  "doctrine": null,\n  "artifacts": {},\n'
        printf '  "langfuse_trace_id": null,\n  "error": null,\n  "measured": {'
        printf '"metric_%d": %d.5, ' $(for ((m = 0; m < 120; m++)); do echo "$m" $((m * n)); done)
        printf '"end": true}\n}\n'
    } >"$dir/manifest.json"
    printf 'job_id: job-%d\nn: %d\n' $((n % 7)) "$n" >"$dir/inputs/brief.yaml"
    printf 'text of run %d\n' "$n" >"$dir/outputs/text.md"
done
one=job-1/$(printf '%032x' $((1 * 7919 + 1)))

export STRONGROOM_ACTOR=guard RAYON_NUM_THREADS=1
store=$work/store
mkdir "$store"
cd "$store"
counts=$work/counts
: >"$counts"
count() { # NAME ARGUMENT...
    local name=$1
    shift
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" >"$work/out" 2>"$work/err" ||
        { cat "$work/out" "$work/err" >&2; exit 1; }
    sed -n "s/.*Collected : \([0-9]*\).*/$name \1/p" "$work/err" >>"$counts"
}
count start --version
count init init
count adopt adopt ../tree
count again adopt ../tree --rehash
count migrate-dry migrate --dry-run --quiet
count migrate migrate --quiet
count migrate-current migrate --quiet
count verify verify
count versions versions
count list list
count show show "$one"
count history history "$one"
rm index.sqlite
count reindex reindex

if [[ ${1-} == --update ]]; then
    { echo "# $compiler"; cat "$counts"; } | tee "$kept"
    exit
fi
awk -v limit=1.1 '
    NR == FNR { if ($1 != "#") kept[$1] = $2; next }
    !($1 in kept) { printf "%-16s %12d  not in benches/instructions.txt\n", $1, $2; bad = 1; next }
    {
        ratio = $2 / kept[$1]
        printf "%-16s %12d  %5.2f of %d%s\n", $1, $2, ratio, kept[$1], (ratio > limit ? "  MORE THAN A TENTH ABOVE" : "")
        bad = bad || (ratio > limit)
        seen[$1] = 1
    }
    END {
        for (name in kept) if (!(name in seen)) { printf "%-16s was not counted\n", name; bad = 1 }
        exit bad
    }' "$kept" "$counts"
