#!/usr/bin/env bash
# Lets programs that never heard of us judge a store.
#
#   scripts/judges.sh STORE [RUN...]   every judge of scripts/judges/ on the store, and on an evidence bundle of these
#                                      runs (without any: of at most ten), which the program makes in a temporary place
#   scripts/judges.sh --bundle DIR     the judges of bundles on this one
#   scripts/judges.sh --self-test      a small store is made and judged; then, for each judge, bytes are flipped that
#                                      it must not accept
#   scripts/judges.sh --install        puts what they need into target/judges, where that can be had
#
# A judge takes the path of a store or bundle and exits with 0 (accepted), 1 (rejected) or 77 (not judged, with the
# reason). It says itself which of the two it takes, and which bytes, flipped, it rejects. KEY=... in the
# environment gives the public keys to trust, one a line; otherwise those lying with what is judged are used.
# ALLOWED_SIGNERS=FILE and TSA_CA=FILE say likewise whose SSH signatures and time stamps count.
# Exit code: 0 when none rejected, 1 when one did, 2 when it was not asked rightly.
set -euo pipefail
exec </dev/null
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$home/target/judges
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT

have() {
    command -v "$1" >/dev/null 2>&1
}

judges() {
    local found
    found=$(find "$home/scripts/judges" -maxdepth 1 \( -name '*.sh' -o -name '*.py' -o -name '*.go' -o -name '*.cjs' \))
    LC_ALL=C sort <<<"$found"
}

# What a judge says of itself under a word.
says() {
    sed -n "s,^\(#\|//\) $2: ,,p" "$1"
}

# Runs a judge in the language that it is written in.
judge() {
    case $1 in
        *.sh) bash "$@" ;;
        *.py)
            local python=$tools/python/bin/python
            [[ -x $python ]] || python=python3
            have "$python" || { echo "not judged: python3 is not installed"; return 77; }
            "$python" "$@"
            ;;
        *.cjs)
            have node || { echo "not judged: node is not installed"; return 77; }
            NODE_PATH=$tools/node/node_modules node "$@"
            ;;
        *.go)
            have go || { echo "not judged: go is not installed"; return 77; }
            local program
            program=$tools/bin/$(basename "$1" .go)
            if [[ ! -x $program || $1 -nt $program ]]; then
                mkdir -p "$tools/bin"
                # Debian keeps the sources of its Go packages in such a tree.
                GO111MODULE=off GOPATH=${JUDGES_GOPATH:-/usr/share/gocode} GOCACHE=$tools/go GOFLAGS= \
                    go build -o "$program" "$1" >"$work/go" 2>&1 ||
                    { echo "not judged: $(head -n 2 "$work/go" | tr '\n' ' ')"; return 77; }
            fi
            shift
            "$program" "$@"
            ;;
    esac
}

# Installs Debian packages, where that is allowed.
packages() {
    [[ $(id -u) == 0 ]] && have apt-get || return 0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"; } \
        >/dev/null 2>&1 || printf 'apt-get could not install %s\n' "$*"
}

install() {
    mkdir -p "$tools"
    local missing=()
    have go || missing+=(golang-go)
    [[ -d /usr/share/gocode/src/golang.org/x/mod/sumdb ]] || missing+=(golang-golang-x-mod-dev)
    have jq || missing+=(jq)
    have openssl || missing+=(openssl)
    have ssh-keygen || missing+=(openssh-client)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    ((${#missing[@]} == 0)) || packages "${missing[@]}"
    # The largest of them, apart, so that the others do not depend on it.
    { have node && have npm; } || packages nodejs npm
    local wanted=$home/scripts/judges/requirements.txt
    if have python3 && ! cmp -s "$wanted" "$tools/python/wanted"; then
        { python3 -m venv --clear "$tools/python" && timeout 90 "$tools/python/bin/pip" install -q --retries 1 -r "$wanted"; } \
            >/dev/null 2>&1 && cp "$wanted" "$tools/python/wanted" || printf 'pip could not install its judges\n'
    fi
    wanted=$home/scripts/judges/package.json
    if have npm && ! cmp -s "$wanted" "$tools/node/package.json"; then
        rm -rf "$tools/node" && mkdir -p "$tools/node/new" && cp "$home"/scripts/judges/package*.json "$tools/node/new"
        (cd "$tools/node/new" && timeout 90 npm ci --fetch-retries 1 --fetch-retry-mintimeout 1000 --fetch-retry-maxtimeout 2000 --ignore-scripts --no-audit --no-fund) >/dev/null 2>&1 &&
            mv "$tools"/node/new/* "$tools/node" || printf 'npm could not install its judges\n'
    fi
}

strongroom() {
    if [[ -n ${STRONGROOM-} ]]; then
        "$STRONGROOM" "$@"
    else
        [[ -x $home/target/debug/strongroom ]] || (cd "$home" && cargo build --quiet --locked)
        "$home/target/debug/strongroom" "$@"
    fi
}

rejected=0 skipped=()

# All judges of stores, or of bundles, on one.
on() {
    local kind=$1 path=$2 status said
    for file in $(judges); do
        [[ " $(says "$file" takes) " == *" $kind "* ]] || continue
        status=0
        said=$(judge "$file" "$path") || status=$?
        printf '%-14s %-7s %s\n' "$(basename "$file")" "$kind" "$said"
        case $status in
            0) ;;
            77) skipped+=("judge $(basename "$file") of the $kind (${said#not judged: })") ;;
            *) rejected=$((rejected + 1)) ;;
        esac
    done
}

summary() {
    for what in "${skipped[@]}"; do
        printf 'skipped: %s\n' "$what"
    done
    ((rejected == 0)) || { printf '%s rejected\n' "$rejected"; exit 1; }
}

on_store() {
    local store=$1 runs=("${@:2}")
    on store "$store"
    if ((${#runs[@]} == 0)); then
        mapfile -t runs < <(cd "$store/artifacts" && find . -mindepth 3 -maxdepth 3 -name manifest.json | LC_ALL=C sort |
            head -n 10 | sed 's,^\./,,;s,/manifest.json$,,')
    fi
    if ((${#runs[@]} == 0)) || [[ ! -e $store/audit/checkpoint ]]; then
        skipped+=("judges of bundles (the store has no run, or no checkpoint)")
    else
        strongroom --store "$store" evidence "${runs[@]}" -o "$work/bundle"
        on bundle "$work/bundle"
    fi
}

# Flips the bits of a mask in the byte at an offset, which counts from the end when it is negative.
flip() {
    local file=$1 offset=$2 mask=${3:-1} byte
    ((offset >= 0)) || offset=$(($(stat -c %s "$file") + offset))
    byte=$(od -An -tu1 -j "$offset" -N 1 "$file")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ mask)))" | dd of="$file" bs=1 seek="$offset" conv=notrunc status=none
}

# A judge must reject each of the bytes that it names, one at a time.
flips() {
    local file=$1 kind glob offset mask status said targets count=0
    while read -r kind glob offset mask; do
        chmod -R u+w "$work/flipped" 2>/dev/null || true
        rm -rf "$work/flipped"
        cp -r "$work/$kind" "$work/flipped"
        chmod -R u+w "$work/flipped"
        mapfile -t targets < <(compgen -G "$work/flipped/$glob" | LC_ALL=C sort)
        [[ -f ${targets[0]-} ]] || { printf '%s names no file: %s\n' "$file" "$glob"; exit 1; }
        flip "${targets[0]}" "$offset" "${mask:-1}"
        status=0
        said=$(judge "$file" "$work/flipped" 2>&1) || status=$?
        if ((status != 1)) || [[ $said != *rejected:* ]]; then
            printf '%s did not reject a flipped byte (%s at %s): %s\n' "$(basename "$file")" "$glob" "$offset" "$said"
            rejected=$((rejected + 1))
        fi
        count=$((count + 1))
    done < <(says "$file" flip)
    ((count)) || { printf '%s names no byte that it rejects\n' "$file"; exit 1; }
    printf '%-14s rejects %s flipped bytes\n' "$(basename "$file")" "$count"
}

# Has the store's checkpoint signed by ssh-keygen and stamped by an authority that openssl makes here.
anchors() {
    local store=$1
    if have ssh-keygen; then
        strongroom --store "$store" audit anchor text -o text
        ssh-keygen -q -t ed25519 -N '' -f auditor
        ssh-keygen -q -Y sign -n strongroom-checkpoint -f auditor text
        printf 'auditor@example.org %s\n' "$(cat auditor.pub)" >allowed
        strongroom --store "$store" audit anchor add text.sig --allowed-signers allowed --no-note
        export ALLOWED_SIGNERS=$PWD/allowed
    fi
    if have openssl; then
        printf '%s\n' '[tsa]' default_tsa=t '[t]' serial=serial signer_digest=sha256 default_policy=1.2.3.4 \
            digests=sha256 ess_cert_id_alg=sha256 '[ext]' extendedKeyUsage=critical,timeStamping \
            '[req]' distinguished_name=dn '[dn]' >tsa.cnf
        echo 01 >serial
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tsa.key -out tsa.pem \
            -subj /CN=tsa -days 30 -config tsa.cnf -extensions ext 2>/dev/null
        strongroom --store "$store" audit anchor tsa-request -o request.tsq
        openssl ts -reply -queryfile request.tsq -signer tsa.pem -inkey tsa.key -config tsa.cnf -out answer.tsr 2>/dev/null
        strongroom --store "$store" audit anchor add answer.tsr
        export TSA_CA=$PWD/tsa.pem
    fi
}

self_test() {
    local store=$work/store
    export HOME=$work XDG_CONFIG_HOME=$work/config XDG_STATE_HOME=$work/state STRONGROOM_COLOR=never
    unset STRONGROOM_STORE
    cd "$work"
    printf '{"topic":"moon"}\n' >brief.json
    strongroom demo "$work/demo" >/dev/null
    mv "$work/demo/store" "$store"
    strongroom --store "$store" audit key new | head -n 1 >"$work/key"
    for name in one two three; do
        strongroom --store "$store" record --job "$name" --input brief=brief.json --output outputs/ -- \
            sh -c "mkdir -p outputs && echo $name >outputs/story.txt" >/dev/null
    done
    anchors "$store"
    KEY=$(cat "$work/key")
    export KEY
    on_store "$store"
    summary
    for file in $(judges); do
        [[ ${skipped[*]} == *"judge $(basename "$file") "* ]] || flips "$file"
    done
    ((rejected == 0)) || exit 1
}

case ${1-} in
    --install) install ;;
    --self-test) install && self_test ;;
    --bundle) on bundle "${2:?which bundle}" && summary ;;
    "" | -*) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
    *) on_store "$@" && summary ;;
esac
