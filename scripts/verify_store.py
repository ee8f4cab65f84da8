#!/usr/bin/env python3
"""Checks a Strongroom store without Strongroom: written from store-layout.md alone, standard library only.

Usage: verify_store.py STORE     prints "CODE place: what", then what was not checked. Exit 0 sound, 3 not.
It goes by SHA-256: BLAKE3 and Ed25519 are not in the standard library, so checks in segments and signatures are named
as not checked. zstd records are read through libzstd where the machine has it. Out of scope: unsettled batches, what
a migration may change (E152), doctrine and chains (E140 to E143), packs (E180, E181), intents (E205, E206), limits, warnings.
"""
import base64, contextlib, ctypes, ctypes.util, hashlib, json, os, pathlib, re, stat, struct, sys, tomllib

COMMON = {"v", "kind", "time", "actor", "operation", "batch"}
OF_RUN = COMMON | {"job_id", "run_id", "run_seq", "after", "files"}
SAME = {"restored", "held", "released", "refused", "redacted", "reviewed"}
RUN = {"recorded", "adopted", "migrated", "rolled-back"} | SAME
ELSE = {"noted", "verified", "pack-installed", "key-added", "key-retired", "run-map", "intent", "outcome"}
WANTED = dict.fromkeys(RUN, OF_RUN) | dict.fromkeys(ELSE, COMMON)
WANTED |= {"migrated": OF_RUN | {"from", "to", "path", "pack"}, "recorded": OF_RUN | {"outcome"}, "run-map": COMMON | {"map"}}
OPTIONAL = set("run_prev before reason attempt_of exceptions detail outcome pack key trusted_to target of map".split())
NAMED, OUTSIDE, OUTER = set("actor before after files reason exceptions detail key target".split()), {"before", "after"}, ("intent", "outcome")
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
found, unchecked, store = [], set(), sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
find = lambda *finding: found.append(finding)
hashed = lambda data: hashlib.sha256(data).digest()
sha = lambda data: "sha256:" + hashed(data).hex()
compact = lambda value: json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

@contextlib.contextmanager
def or_find(code, place):
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        find(code, place, error)

def demand(holds, what):
    if not holds:
        raise ValueError(what)

def read(path):
    demand(stat.S_ISREG(os.lstat(os.path.join(store, path)).st_mode), "not a regular file")
    return pathlib.Path(store, path).read_bytes()

def members(pairs):
    demand(len(dict(pairs)) == len(pairs), "a member twice")
    return dict(pairs)

def scan(data):
    value = json.loads(data.decode(), object_pairs_hook=members, parse_int=lambda token: int(token[:400]))
    compact(value)  # lone surrogates, NaN and what is beyond binary64 have no such form
    demand(isinstance(value, dict), "not an object")
    return value

def ordered(value):
    if isinstance(value, dict):
        return {k: ordered(value[k]) for k in sorted(value, key=lambda k: k.encode("utf-16-be"))}
    return [ordered(v) for v in value] if isinstance(value, list) else value

def record(data):
    demand(compact(ordered(value := scan(data))) == data and value.get("v") == 1, "not a canonical record")
    return value

def unzstd(data, size):
    if not (name := ctypes.util.find_library("zstd")):
        return unchecked.add("compressed records: there is no libzstd here")
    out, call = ctypes.create_string_buffer(size + 1), ctypes.CDLL(name).ZSTD_decompress
    call.restype = ctypes.c_size_t
    done = call(out, ctypes.c_size_t(size), data, ctypes.c_size_t(len(data)))
    return out.raw[:done] if done <= size else b""

def segment(place, number, store_id, committed, blobs):
    data, at = read(place), 48
    demand(data[:32] == b"SRMSEG\r\n" + struct.pack("<II", 1, number) + store_id, "the header is not this segment's")
    while at + 120 <= len(data):
        magic, codec, zero, stored, raw, digest = struct.unpack("<4sB3sQQ32s", data[at : at + 56])
        if magic != b"SRR\1" or codec > 1 or zero != b"\0\0\0" or at + 120 + stored > len(data):
            break
        body = unzstd(data[at + 104 : at + 104 + stored], raw) if codec else data[at + 104 : at + 104 + stored]
        good = body is None or (len(body), sha(body)) == (raw, "sha256:" + digest.hex())
        blobs |= {"sha256:" + digest.hex(): body} if good else {}
        good or find("E161", f"{place} at {at}", "a blob is not its digest")
        at += 120 + stored
    demand(at >= committed, f"no record at {at}, though {committed} bytes are committed")

def segments(store_id, committed):
    blobs = {}
    unchecked.add("BLAKE3 checks in segments, and whose a segment is that nothing commits")
    there = {int(path.stem, 16) for path in pathlib.Path(store, "objects/segments").glob("*.seg")}
    for number in sorted(there | committed.keys()):
        place = f"objects/segments/{number:08x}.seg"
        with or_find("E162" if number in committed else "warning", place):
            segment(place, number, store_id, committed.get(number, 0), blobs)
    return blobs

def perfect(hashes):
    while len(hashes) > 1:
        hashes = [hashed(b"\1" + a + b) for a, b in zip(hashes[::2], hashes[1::2])]
    return hashes[0]

def peaks(leaves):
    cuts = [len(leaves) >> bit << bit for bit in reversed(range(len(leaves).bit_length() + 1))]
    return [perfect(leaves[a:b]) for a, b in zip(cuts, cuts[1:]) if a < b]

def root_of(leaves):
    tops = peaks(leaves)
    while len(tops) > 1:
        tops[-2:] = [perfect(tops[-2:])]
    return tops[0] if tops else hashed(b"")

def tile_path(kind, n, width):
    parts = ["%03d" % (n % 1000)]
    while n := n // 1000:
        parts.insert(0, "x%03d" % (n % 1000))
    return f"audit/tile/{kind}/" + "/".join(parts) + (f".p/{width}" if width < 256 else "")

def bundles(size):
    texts = []
    for n in range((size + 255) // 256):
        width, here, at = min(256, size - 256 * n), [], 0
        place = tile_path("entries", n, width)
        with or_find("E172", place):
            data = read(place)
            while at < len(data):
                end = at + 2 + int.from_bytes(data[at : at + 2], "big")
                here.append(data[at + 2 : end])
                at = end
            demand(at == len(data) and len(here) == width, "it does not hold as many entries as its name says")
        texts += here
    return texts

def tiles(hashes, level=0):
    for n in range((len(hashes) + 255) // 256):
        want = hashes[256 * n : 256 * n + 256]
        place = tile_path(level, n, len(want))
        with or_find("E174", place):
            demand(read(place) == b"".join(want), "it does not follow from the entries")
    if len(hashes) >= 256:
        tiles([perfect(hashes[i : i + 256]) for i in range(0, len(hashes) - 255, 256)], level + 1)

def parse(text, place):
    with or_find("E170", place):
        entry = record(text)
        wanted, names = WANTED[entry["kind"]], set(entry)
        digests = all(re.fullmatch("sha256:[0-9a-f]{64}", entry[name]) for name in names & (NAMED | {"run_prev"}))
        ids = all(ID.fullmatch(entry[name]) for name in names & {"job_id", "run_id"})
        optional = OPTIONAL | ({"after", "files"} if entry["kind"] in ELSE else set())
        if not (wanted <= names <= wanted | optional and digests and ids and len(text) < 16384):
            raise ValueError("a member is not as its kind has it")
        return entry
    return {"kind": "noted"}

def put(node, name, leaf):
    if node is None or node[1:] == (name, 256):
        return hashed(b"\2" + name.to_bytes(32, "big") + leaf), name, 256
    _, other, at, *sides = node
    if (differ := 256 - (name ^ other).bit_length()) < at:
        at, sides = differ, [node if name >> 255 - differ & 1 == one else None for one in (1, 0)]
    side = name >> 255 - at & 1
    sides[side] = put(sides[side], name, leaf)
    return (hashed(b"\3" + bytes([at]) + sides[0][0] + sides[1][0]), other, at, *sides)

def replay(leaves, entries):
    runs, tree = {}, None
    for n, (leaf, entry) in enumerate(zip(leaves, entries)):
        root = tree[0] if tree else hashed(b"")
        if entry["kind"] == "run-map" and entry["map"] != {"root": "sha256:" + root.hex(), "runs": len(runs)}:
            find("E200", f"log entry {n}", "not the map of the runs before it")
        if entry["kind"] not in RUN:
            continue
        chain = runs.setdefault((entry["job_id"], entry["run_id"]), [])
        last = chain[-1] if chain else {"leaf": None, "after": None, "files": entry["files"]}
        claim = [entry.get(name) for name in ("run_seq", "run_prev", "before", "files")]
        fits = claim == [len(chain) + 1, last["leaf"], last["after"], last["files"]]
        fits &= bool(chain) != (entry["kind"] in ("recorded", "adopted"))
        fits &= entry["kind"] not in SAME or entry.get("before") == entry["after"]
        fits or find("E171", f"log entry {n}", "it does not follow on the run's last one")
        chain.append(entry | {"leaf": "sha256:" + leaf.hex()})
        name = int(sha("{job_id}/{run_id}".format(**entry).encode())[7:], 16)
        tree = put(tree, name, leaf + len(chain).to_bytes(8, "big"))
    return runs

def checkpoint(origin, leaves):
    with or_find("E175", "audit/checkpoint"):
        name, size, root, empty, *signatures = read("audit/checkpoint").decode().rstrip("\n").split("\n")
        if name != origin or empty or not any(line.startswith(f"— {origin} ") for line in signatures):
            raise ValueError("not a checkpoint of this log")
        unchecked.add("the checkpoint's signature")
        if int(size) > len(leaves) or root_of(leaves[: int(size)]) != base64.b64decode(root, validate=True):
            find("E176", "audit/checkpoint", "the entries do not give its root")

def file_list(digest, blobs):
    value = record(blobs[digest])
    return value["entries"] if "entries" in value else sum((file_list(p["list"], blobs) for p in value["parts"]), [])

def check_run(key, run, blobs):
    place = "artifacts/" + "/".join(key)
    top = os.path.join(store, place)
    if os.path.islink(os.path.dirname(top)) or not os.path.isdir(top) or os.path.islink(top):
        there = os.path.lexists(top)
        return find("E107" if there else "E108", place, "not a folder" if there else "the disk does not have the run")
    there = {}
    for folder, dirs, files in os.walk(top):
        paths = [os.path.join(folder, name) for name in dirs + files]
        there |= {os.path.relpath(path, top): os.lstat(path) for path in paths}
    kind = {path: {stat.S_IFREG: "file", stat.S_IFDIR: "dir"}.get(stat.S_IFMT(s.st_mode)) for path, s in there.items()}
    digests = {path: sha(read(f"{place}/{path}")) for path in kind if kind[path] == "file"}
    listed = None
    with or_find("E160", place):
        listed = {entry["path"]: entry for entry in file_list(run[-1]["files"], blobs)}
    for path, entry in (listed or {}).items():
        want = entry.get("sha256")
        if path not in there:
            find("E104", f"{place}/{path}", "missing")
        elif kind[path] is None or (kind[path], entry["type"]) == ("dir", "file"):
            find("E107", f"{place}/{path}", f"not a {entry['type']}")
        elif digests.get(path) != want:
            find("E105", f"{place}/{path}", f"not {want}")
        if want and want not in blobs:
            large = f"objects/{entry['blake3'][7:9]}/{entry['blake3'][9:]}"
            with or_find("E160", large):
                if sha(read(large)) != want:
                    find("E161", large, "a blob is not its digest")
    for path in sorted(set(there) - set(listed or there) - {"manifest.json"}):
        find("E106", f"{place}/{path}", "the file list does not have it")
    place += "/manifest.json"
    if kind.get("manifest.json") != "file":
        return find(*(("E107", place, "not a file") if "manifest.json" in there else ("E101", place, "missing")))
    digests["manifest.json"] == run[-1]["after"] or find("E102", place, f"not {run[-1]['after']}")
    with or_find("E103", place):
        check_manifest(key, read(place), scan(read(place)), digests, there, listed or {}, run)

def check_manifest(key, data, manifest, digests, there, listed, run):
    place, snapshots = f"artifacts/{'/'.join(key)}/", manifest.get("input_snapshots") or {}
    outputs = manifest.get("artifacts") or {}
    for code, (name, item) in [("E120", s) for s in snapshots.items()] + [("E121", o) for o in outputs.items()]:
        path = item.get("path", name)
        if not isinstance(path, str) or {"", ".", ".."} & set(path.split("/")) or "\0" in path:
            find("E123", f"{place}{path}", "not a path inside the run")
        elif path not in digests:
            path in listed or find("E122", place + path, "declared and not there")
        elif any(item.get(k, v) != v for k, v in (("sha256", digests[path]), ("bytes", there[path].st_size))):
            find(code, place + path, "not the file that is declared")
    place += "manifest.json"
    inputs, text = manifest.get("inputs_hash"), {k: snapshots[k].get("sha256") for k in sorted(snapshots)}
    inputs and all(text.values()) and inputs != sha(compact(text)) and find("E130", place, "inputs_hash does not follow from the snapshots")
    manifest.get("run_id", key[1]) == key[1] or find("E131", place, "another run's")
    inputs and inputs[7:39] != re.sub(r"-[1-9]\d*$", "", key[1]) and find("E132", place, "run_id does not follow")
    manifest.get("job_id", key[0]) == key[0] or find("E133", place, "another job's")
    history = manifest.get("migration_history") or []
    ours = [item for item in history if item.get("checksum_form") == "sha256-zeroed"]
    if ours and ours[-1] is history[-1]:
        digits = ours[-1]["checksum_after"][7:].encode()
        if data.count(digits) != 1 or sha(data.replace(digits, b"0" * 64)) != ours[-1]["checksum_after"]:
            find("E150", place, "checksum_after does not recompute")
    migrations = iter([entry["before"] for entry in run if entry["kind"] == "migrated"])
    all(item["checksum_before"] in migrations for item in ours) or find("E151", place, "a record is not in the log")

def strays(runs):
    top = pathlib.Path(store, "artifacts")
    for path in sorted([*top.glob("*"), *top.glob("*/*")]):
        key = path.relative_to(top).parts
        if not ID.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            find("E110", f"artifacts/{'/'.join(key)}", "neither a job nor a run")
        elif len(key) == 2 and key not in runs:
            find("E109", f"artifacts/{'/'.join(key)}", "the log does not have it")

def verify():
    config = tomllib.loads(read("strongroom.toml").decode())
    demand(config["format"] == "strongroom" and config["read_version"] == 0, "not a store of format version 0")
    store_id, head = bytes.fromhex(config["store_id"]), record(read("audit/head"))
    demand(head["check"] == sha(compact(ordered({name: head[name] for name in head if name != "check"}))), "the check of audit/head does not fit")
    texts = bundles(head["size"])
    leaves = [hashed(b"\0" + text) for text in texts]
    if [head["root"], *head["frontier"]] != ["sha256:" + hash_.hex() for hash_ in [root_of(leaves), *peaks(leaves)]]:
        find("E173", "audit/head", "the entries do not give the recorded root")
    tiles(leaves)
    os.path.lexists(os.path.join(store, "audit/checkpoint")) and checkpoint(config["origin"], leaves)
    demand(not os.listdir(os.path.join(store, "audit/wal")), "a batch is not settled; any writing command finishes it")
    blobs = segments(store_id, {mark["number"]: mark["len"] for mark in head["segments"]})
    entries, known = [parse(text, f"log entry {n}") for n, text in enumerate(texts)], set()
    for n, entry in enumerate(entries):
        for name in sorted(NAMED & set(entry) - (OUTSIDE if entry["kind"] in OUTER else set())):
            entry[name] in blobs or find("E160", f"log entry {n}", f"{name} {entry[name]} resolves to nothing")
        if listed := blobs.get(entry.get("exceptions")):
            place = "artifacts/{job_id}/{run_id}/".format(**entry)
            known |= {(item["code"], place + (item["path"] or "")) for item in record(listed)["findings"]}
    unchecked.update("changes of documents outside the store (intents, outcomes)" for entry in entries if entry["kind"] in OUTER)
    runs = replay(leaves, entries)
    strays(runs)
    for key in sorted(runs):
        check_run(key, runs[key], blobs)
    return known

known = set()
with or_find("damaged", store):
    known = verify()
new = [item for item in found if item[:2] not in known and item[0] != "warning"]
for item in found:
    print("{} {!a}: {}".format(*item[:2], ascii(str(item[2]))), "" if item in new else "(known)")
print(*(f"not checked: {what}" for what in sorted(unchecked)), sep="\n")
sys.exit(3 if new else 0)
