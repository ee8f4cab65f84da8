#!/usr/bin/env bash
# Judge: openssl pkeyutl, which checks the Ed25519 signatures of the checkpoint and of a bundle's statement.
# takes: store bundle
# flip: store audit/checkpoint 0
# flip: store audit/checkpoint -10
# flip: bundle data/log/checkpoint 0
# flip: bundle data/log/checkpoint -10
# flip: bundle statement.dsse.json 40
# flip: bundle statement.dsse.json -20
set -euo pipefail
LC_ALL=C

top=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

reject() {
    printf 'rejected: %s\n' "$1"
    exit 1
}

cannot() {
    printf 'not judged: %s\n' "$1"
    exit 77
}

openssl pkeyutl -help 2>&1 | grep -q rawin || cannot "there is no openssl that checks Ed25519 signatures"

if [[ -e $top/bagit.txt ]]; then
    note=$top/data/log/checkpoint keys=("$top"/data/log/keys/*.vkey)
else
    note=$top/audit/checkpoint keys=("$top"/audit/keys/*)
fi
[[ -e $note ]] || cannot "there is no checkpoint"
[[ -n ${KEY-} ]] || KEY=$(cat "${keys[@]}")

# The public keys in the form that openssl reads: by name of the form name+id.
names=()
while read -r key; do
    [[ -n $key ]] || continue
    name=${key%"${key#*+????????}"}
    { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; cut -d+ -f3- <<<"$key" | base64 -d | tail -c 32; } |
        openssl pkey -pubin -inform DER -out "$work/${#names[@]}.pem"
    names+=("$name")
done <<<"$KEY"

# Whether the signature in base64 is that of the key on the text. A checkpoint's has a key id before it.
holds() {
    base64 -d <<<"$2" 2>/dev/null | tail -c 64 >"$work/signature" || return 1
    openssl pkeyutl -verify -pubin -inkey "$work/$1.pem" -rawin -in "$3" -sigfile "$work/signature" >/dev/null 2>&1
}

signed=0
sed '/^$/Q' "$note" >"$work/text"
while read -r _ name signature; do
    id=$(base64 -d <<<"$signature" 2>/dev/null | head -c 4 | od -An -tx1 | tr -d ' \n')
    for at in "${!names[@]}"; do
        [[ ${names[at]} == "$name+$id" ]] || continue
        holds "$at" "$signature" "$work/text" || reject "the signature of $name+$id on the checkpoint"
        signed=$((signed + 1))
    done
done < <(sed '1,/^$/d' "$note")
((signed)) || reject "no known key has signed the checkpoint"
what="$signed on the checkpoint"

if [[ -e $top/statement.dsse.json ]]; then
    command -v jq >/dev/null || cannot "jq, which takes the statement out of its envelope, is not installed"
    envelope=$top/statement.dsse.json
    { type=$(jq -er .payloadType "$envelope") && jq -er .payload "$envelope" | base64 -d >"$work/payload"; } 2>/dev/null ||
        reject "the statement's envelope cannot be read"
    { printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(wc -c <"$work/payload")"; cat "$work/payload"; } >"$work/pae"
    stated=0
    while read -r name signature; do
        for at in "${!names[@]}"; do
            [[ ${names[at]} == "$name" ]] || continue
            holds "$at" "$signature" "$work/pae" || reject "the signature of $name on the statement"
            stated=$((stated + 1))
        done
    done < <(jq -r '.signatures[] | .keyid + " " + .sig' "$envelope" 2>/dev/null)
    ((stated)) || reject "no known key has signed the statement"
    what+=", $stated on the statement"
fi
printf 'accepted: signatures that hold: %s\n' "$what"
