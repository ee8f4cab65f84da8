#!/usr/bin/env bash
# Runs every fuzz target for a while, from the corpora under tests/corpus and what earlier runs added
# to them under fuzz/corpus. Prints one line for each: executions, edges of the code that were reached, new inputs,
# seconds of a processor, finds. An input that breaks a promise is left under fuzz/artifacts; once it is understood
# it belongs in tests/corpus, where every `cargo test` replays it. Fails when there are finds.
#
# Usage: scripts/fuzz.sh [SECONDS [TARGET…]]   (60 seconds, all targets)
#        scripts/fuzz.sh --table               what all runs so far came to, from fuzz/artifacts/runs
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=fuzz/artifacts/runs
if [[ ${1-} == --table ]]; then
    sort -s -k1,1 "$runs" | awk '
        function line() { printf "| %s | %d | %s | %.1f | %d |\n", name, executions, edges ? edges : "", cpu / 60, finds }
        $1 != name { if (name) line(); name = $1; executions = cpu = finds = edges = 0 }
        { executions += $2; if ($3 > edges) edges = $3; cpu += $5; finds += $6; all += $2; used += $5; found += $6 }
        END { line(); name = "all"; executions = all; edges = 0; cpu = used; finds = found; line() }'
    exit 0
fi

seconds=${1:-60}
shift || true
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    printf 'usage: scripts/fuzz.sh [SECONDS [TARGET…]]\n' >&2
    exit 2
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    printf 'cargo-fuzz is not installed: cargo install cargo-fuzz --locked\n' >&2
    printf 'It needs a C++ compiler; a stable toolchain will do.\n' >&2
    exit 1
fi

targets=("$@")
if ((${#targets[@]} == 0)); then
    for file in fuzz/fuzz_targets/*.rs; do
        name=${file##*/}
        targets+=("${name%.rs}")
    done
fi

# Coverage instrumentation is an unstable option of the compiler, which a stable one takes with this.
# No sanitizer: our own code has no `unsafe`, and without one the targets run several times as fast.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --sanitizer none >/dev/null
programs=${CARGO_TARGET_DIR:-fuzz/target}/$(rustc -vV | sed -n 's/^host: //p')/release

log=$(mktemp)
trap 'rm -f "$log"' EXIT
figure() {
    sed -n "s/^stat::$1: *//p" "$log" | tail -n 1
}

failed=0
TIMEFORMAT='%U %S'
for target in "${targets[@]}"; do
    own=fuzz/corpus/$target
    artifacts=fuzz/artifacts/$target
    mkdir -p "$own" "$artifacts"
    before=$(find "$artifacts" -type f | wc -l)
    status=0
    # An input is too slow after minutes only: the machine may be busy with something else.
    used=$({ time "$programs/$target" "$own" "tests/corpus/$target" -artifact_prefix="$artifacts/" \
        -max_total_time="$seconds" -timeout=300 -report_slow_units=300 -rss_limit_mb=1024 -print_final_stats=1 \
        >"$log" 2>&1 || echo "failed $?"; } 2>&1)
    [[ $used == *failed* ]] && status=1
    used=$(awk '/^[0-9.]+ [0-9.]+$/ { print int($1 + $2 + 0.5) }' <<<"$used")
    finds=$(($(find "$artifacts" -type f | wc -l) - before))
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    executions=$(figure number_of_executed_units)
    added=$(figure new_units_added)
    printf '%-18s %12s executions %6s edges %6s new inputs %5s s %3d finds\n' "$target" \
        "$executions" "$edges" "$added" "$used" "$finds"
    printf '%s %s %s %s %s %s\n' "$target" "${executions:-0}" "${edges:-0}" "${added:-0}" "$used" "$finds" >>"$runs"
    if ((status != 0 || finds > 0)); then
        failed=1
        # The panic, not the fuzzer's own lines.
        sed -n '/panicked at/,+2p; /^==.*ERROR/p; /Test unit written/p' "$log" | head -n 12
        ((finds > 0)) || tail -n 5 "$log"
    fi
done
exit "$failed"
