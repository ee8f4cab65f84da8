#!/usr/bin/env bash
# Runs every fuzz target for a while, from the corpora under tests/corpus and what earlier runs added
# to them under fuzz/corpus. Prints one line for each: executions, new inputs, finds. An input that
# breaks a promise is left under fuzz/artifacts; once it is understood it belongs in tests/corpus,
# where every `cargo test` replays it. Fails when there are finds.
#
# Usage: scripts/fuzz.sh [SECONDS [TARGET…]]   (60 seconds, all targets)
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

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

log=$(mktemp)
trap 'rm -f "$log"' EXIT
figure() {
    sed -n "s/^stat::$1: *//p" "$log" | tail -n 1
}

failed=0
for target in "${targets[@]}"; do
    own=fuzz/corpus/$target
    artifacts=fuzz/artifacts/$target
    mkdir -p "$own" "$artifacts"
    before=$(find "$artifacts" -type f | wc -l)
    status=0
    cargo fuzz run --sanitizer none "$target" "$own" "tests/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        >"$log" 2>&1 || status=$?
    finds=$(($(find "$artifacts" -type f | wc -l) - before))
    printf '%-18s %12s executions %6s new inputs %3d finds\n' "$target" \
        "$(figure number_of_executed_units)" "$(figure new_units_added)" "$finds"
    if ((status != 0 || finds > 0)); then
        failed=1
        # The panic, not the fuzzer's own lines.
        sed -n '/panicked at/,+2p; /^==.*ERROR/p; /Test unit written/p' "$log" | head -n 12
        ((finds > 0)) || tail -n 5 "$log"
    fi
done
exit "$failed"
