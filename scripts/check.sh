#!/usr/bin/env bash
# Everything a change must pass, in the order in which failures are cheapest to find.
# Needs a Rust toolchain; what else is missing is installed where that is allowed (root, apt-get),
# and otherwise the checks that need it are named as skipped. Reads no standard input.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skipped=()

step() {
    printf '\n== %s\n' "$1"
    shift
    "$@"
}

skip() {
    printf '\n== %s: skipped, %s\n' "$1" "$2"
    skipped+=("$1 ($2)")
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# The tests compare our files with what these tools say about them.
declare -A packages=([cc]="gcc libc6-dev" [git]=git [jq]=jq [sqlite3]=sqlite3 [strace]=strace [valgrind]=valgrind)
missing=()
for tool in "${!packages[@]}"; do
    have "$tool" || missing+=("$tool")
done
if ((${#missing[@]})) && [[ $(id -u) == 0 ]] && have apt-get; then
    wanted=()
    for tool in "${missing[@]}"; do
        read -ra names <<<"${packages[$tool]}"
        wanted+=("${names[@]}")
    done
    printf '== installing %s\n' "${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${wanted[@]}"; } >/dev/null ||
        printf 'apt-get failed; going on without\n'
fi
for tool in "${missing[@]}"; do
    have "$tool" || skip "tests against $tool" "$tool is not installed"
done
for part in rustfmt clippy; do
    name=cargo-${part/rustfmt/fmt}
    if ! cargo "${name#cargo-}" --version >/dev/null 2>&1 && have rustup; then
        rustup component add "$part" >/dev/null 2>&1 || true
    fi
done

if cargo fmt --version >/dev/null 2>&1; then
    step "format" cargo fmt --check
else
    skip "format" "rustfmt is not installed"
fi
if cargo clippy --version >/dev/null 2>&1; then
    step "lints" cargo clippy --locked --all-targets -- -D warnings
    step "lints, with WebAssembly" cargo clippy --locked --all-targets --features wasm -- -D warnings
    step "lints, with ML-DSA-44 and AWS-LC" cargo clippy --locked --all-targets --features ml-dsa,aws-lc-rs -- -D warnings
    step "lints, library alone" cargo clippy --locked --no-default-features --lib -- -D warnings
else
    skip "lints" "clippy is not installed"
fi
step "build, library alone" cargo build --locked --no-default-features --lib
step "tests" cargo test --locked
if have rustup; then
    rustup target add wasm32-unknown-unknown >/dev/null 2>&1 || true
fi
step "tests of steps in WebAssembly" cargo test --locked --features wasm --test it -- wasm
step "tests of ML-DSA-44 and AWS-LC" cargo test --locked --features ml-dsa,aws-lc-rs --lib -- note:: base::
step "tests of ML-DSA-44 and AWS-LC, the program" cargo test --locked --features ml-dsa,aws-lc-rs --test it -- cli_ml_dsa cli_keys
step "judges" scripts/judges.sh --self-test | tee target/judges.txt
while read -r what; do
    skipped+=("$what")
done < <(sed -n 's/^skipped: //p' target/judges.txt)
if have valgrind; then
    step "instruction counts" scripts/instructions.sh | tee target/instructions.txt
    while read -r what; do
        skipped+=("$what")
    done < <(sed -n 's/^skipped: //p' target/instructions.txt)
else
    skip "instruction counts" "valgrind is not installed"
fi
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
if cargo deny --version >/dev/null 2>&1; then
    step "dependencies" cargo deny check licenses bans sources
else
    skip "dependencies" "cargo-deny is not installed"
fi
if have python3; then
    step "bill of materials" bash -c 'scripts/sbom.py >target/strongroom.cdx.json'
else
    skip "bill of materials" "python3 is not installed"
fi

printf '\n== all checks passed\n'
for what in "${skipped[@]}"; do
    printf 'skipped: %s\n' "$what"
done
