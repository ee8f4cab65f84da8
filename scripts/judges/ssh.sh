#!/usr/bin/env bash
# Judge: ssh-keygen -Y verify, on the SSH signatures of kept checkpoints. ALLOWED_SIGNERS=FILE says whose count; without
# it ssh-keygen only says whether each is a good one of the key within it.
# takes: store
# flip: store audit/anchors/*/checkpoint 0
# flip: store audit/anchors/*/*.sshsig 200
set -euo pipefail
shopt -s nullglob

command -v ssh-keygen >/dev/null || { echo "not judged: ssh-keygen is not installed"; exit 77; }
signatures=("$1"/audit/anchors/*/*.sshsig)
((${#signatures[@]})) || { echo "not judged: no checkpoint has an SSH signature"; exit 77; }
text=$(mktemp)
trap 'rm -f "$text"' EXIT
for signature in "${signatures[@]}"; do
    head -n 3 "${signature%/*}/checkpoint" >"$text"
    said=
    if [[ -n ${ALLOWED_SIGNERS-} ]]; then
        who=$(ssh-keygen -Y find-principals -f "$ALLOWED_SIGNERS" -s "$signature" 2>/dev/null | head -n 1) &&
            said=$(ssh-keygen -Y verify -f "$ALLOWED_SIGNERS" -I "$who" -n strongroom-checkpoint -s "$signature" <"$text" 2>&1)
    else
        said=$(ssh-keygen -Y check-novalidate -n strongroom-checkpoint -s "$signature" <"$text" 2>&1)
    fi || { printf 'rejected: %s %s\n' "${signature##*/}" "$said"; exit 1; }
done
printf 'accepted: SSH signatures that hold: %s\n' "${#signatures[@]}"
