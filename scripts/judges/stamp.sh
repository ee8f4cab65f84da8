#!/usr/bin/env bash
# Judge: openssl ts -verify, on the time stamps of kept checkpoints. TSA_CA=FILE has the certificates to trust; without
# it those in the stamps serve, which shows only that each stamp is whole and of its checkpoint.
# takes: store
# flip: store audit/anchors/*/checkpoint 0
# flip: store audit/anchors/*/*.tsr -5
set -euo pipefail
shopt -s nullglob

openssl ts -help >/dev/null 2>&1 || { echo "not judged: there is no openssl with the command ts"; exit 77; }
stamps=("$1"/audit/anchors/*/*.tsr)
((${#stamps[@]})) || { echo "not judged: no checkpoint has a time stamp"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for stamp in "${stamps[@]}"; do
    head -n 3 "${stamp%/*}/checkpoint" >"$work/text"
    trusted=${TSA_CA-}
    if [[ -z $trusted ]]; then
        trusted=$work/certificates
        { openssl ts -reply -in "$stamp" -token_out -out "$work/token" &&
            openssl pkcs7 -inform DER -in "$work/token" -print_certs -out "$trusted"; } >/dev/null 2>&1 ||
            { printf 'rejected: %s cannot be read\n' "${stamp##*/}"; exit 1; }
    fi
    said=$(openssl ts -verify -partial_chain -data "$work/text" -in "$stamp" -CAfile "$trusted" 2>&1) ||
        { printf 'rejected: %s %s\n' "${stamp##*/}" "$(tail -n 1 <<<"$said")"; exit 1; }
done
printf 'accepted: time stamps that hold: %s\n' "${#stamps[@]}"
