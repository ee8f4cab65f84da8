#!/usr/bin/env bash
# Judge: scripts/verify_store.py, a second verifier written from store-layout.md.
# takes: store
# flip: store artifacts/*/*/manifest.json 30
# flip: store artifacts/*/*/outputs/* 0
# flip: store audit/tile/entries/000.p/* 40
# flip: store audit/tile/0/000.p/* 0
# flip: store audit/head 20
set -euo pipefail

command -v python3 >/dev/null || { echo "not judged: python3 is not installed"; exit 77; }
status=0
said=$(python3 "$(dirname "${BASH_SOURCE[0]}")/../verify_store.py" "$1" 2>&1) || status=$?
case $status in
    0) printf 'accepted: nothing found; %s\n' "$(tail -n 1 <<<"$said")" ;;
    *) printf 'rejected: %s\n' "$(head -n 5 <<<"$said")"; exit 1 ;;
esac
