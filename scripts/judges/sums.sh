#!/usr/bin/env bash
# Judge: sha256sum, which checks a bundle's manifests and each run's file list.
# takes: bundle
# flip: bundle data/runs/*/*/files/outputs/* 0
# flip: bundle data/runs/*/*/entries/000001.json 20
# flip: bundle report.html 100
# flip: bundle manifest-sha256.txt 3
# flip: bundle statement.dsse.json 40
set -euo pipefail
shopt -s nullglob
export LC_ALL=C

reject() {
    printf 'rejected: %s\n' "$1"
    exit 1
}

cannot() {
    printf 'not judged: %s\n' "$1"
    exit 77
}

for tool in sha256sum jq; do
    command -v "$tool" >/dev/null || cannot "$tool is not installed"
done
cd "$1"
! grep -q % manifest-sha256.txt || cannot "the bag has names with an encoding that sha256sum does not read"
for manifest in manifest-sha256.txt tagmanifest-sha256.txt; do
    sha256sum --quiet --strict -c "$manifest" 2>&1 || reject "$manifest"
done
diff <(find data -type f | sort) <(cut -c67- manifest-sha256.txt | sort) || reject "something that the manifest does not name"
runs=0
for run in data/runs/*/*/; do
    list=$(sha256sum <"$run/file-list.json" | cut -c-64)
    for entry in "$run"/entries/*.json; do
        [[ $(jq -r .files "$entry") == "sha256:$list" ]] || reject "$entry does not name $run/file-list.json"
    done
    lines=$(jq -r '.entries[]? | select(.type == "file") | .sha256[7:] + "  " + .path' "$run"/file-list.json "$run"/file-list/*.json)
    [[ -z $lines ]] || (cd "$run/files" && sha256sum --quiet --strict -c <<<"$lines" 2>&1) || reject "a file of $run"
    runs=$((runs + 1))
done
printf 'accepted: %s files of the bag, the files of %s runs\n' "$(wc -l <manifest-sha256.txt)" "$runs"
