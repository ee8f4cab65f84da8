#!/usr/bin/env bash
# Builds the program twice, in two folders of different names that share nothing but cargo's downloads, and says
# whether both builds are the same, byte for byte. Prints the digest, which whoever builds the same commit with the
# same toolchain (rustc, C compiler, linker) gets too. Takes two builds from nothing.
#
# Usage: scripts/reproducible.sh [CARGO ARGUMENT…]   (--release)
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arguments=("$@")
((${#arguments[@]})) || arguments=(--release)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT

# Where the sources and cargo's downloads lie is told the compilers, so that no name of a folder comes into the program.
# The Rust compiler is told by a wrapper: what stands in RUSTFLAGS goes into the names of symbols.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
cat >"$top/wrapper" <<'END'
#!/bin/sh
exec "$@" --remap-path-prefix="$REPRODUCIBLE_FOLDER=/strongroom" --remap-path-prefix="$REPRODUCIBLE_CARGO=/cargo"
END
chmod +x "$top/wrapper"

build() {
    local folder=$1
    mkdir -p "$folder"
    git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -C "$folder"
    (
        cd "$folder"
        export RUSTC_WRAPPER=$top/wrapper REPRODUCIBLE_FOLDER=$folder REPRODUCIBLE_CARGO=$cargo_home
        export CFLAGS="-ffile-prefix-map=$folder=/strongroom -ffile-prefix-map=$cargo_home=/cargo"
        export CARGO_TARGET_DIR=$folder/target CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=0
        cargo build --quiet --locked --bin strongroom "${arguments[@]}"
    )
    find "$folder/target" -maxdepth 2 -name strongroom -type f
}

one=$(build "$top/one")
two=$(build "$top/another/below")
rustc --version
sha256sum "$one" "$two" | sed "s|$top/||"
if cmp -s "$one" "$two"; then
    printf 'both builds are the same\n'
    exit 0
fi
printf 'the builds differ in %s bytes\n' "$(cmp -l "$one" "$two" | wc -l)"
# What usually does it: a folder's name.
for program in "$one" "$two"; do
    strings -a "$program" | grep -F "$top" | head -n 5 || true
done
exit 1
