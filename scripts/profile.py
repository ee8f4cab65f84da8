#!/usr/bin/env python3
"""Where a migration's CPU time goes, beside that of the bare program which makes the unavoidable calls alone.

    scripts/profile.py [BENCH OPTION...]

Runs `cargo bench --bench store -- --only "migrate M" --rounds 1` (and the options given, say `--dir DIR`) under `perf
record` and puts each sample down to the innermost of the functions named below that was at work. Needs perf, and
leave to look into the kernel: /proc/sys/kernel/perf_event_paranoid at 1 or less, or root."""

import collections
import subprocess
import sys
import tempfile

# The first line of which a function is on the stack, looked for from the inside out, has the sample.
PARTS = [
    ("file list and inputs of the run", ["Store>::migration_facts"]),
    ("steps, rules and invariants (pack, JSON)", ["schema::", "json::", "Manifest::check", "carry::deprecated"]),
    ("both digests", ["BlobId::of", "Prepared::of"]),
    ("packing for the segment", ["Prepared::pack"]),
    ("reading back what is shared", ["LocalBlobs::shared"]),
    ("reading the manifest", ["durable::Disk::read"]),
    ("staging: segment, files, flushes", ["Stage::", "Batches", "sync_all"]),
    ("exchange, and a look at what was displaced", ["Operation::apply_group", "Store>::apply"]),
    ("index brought up to date", ["Operation::end", "Store>::index", "Store>::refresh_index", "index_entries",
                                  "index_manifests", "read_manifest", "put_read"]),
    ("entries, run map, journal, bundles", ["Operation::commit", "Session", "RunMap", "States"]),
    ("removing what was staged", ["Leftovers", "remove_tree"]),
    ("threads that look for work", ["wait_until_cold"]),
]
# Written in assembler, so that their callers are not always known.
DIGESTS = ["blake3", "sha2"]
REST = "the rest, and what perf cannot follow"


def part_of(stack):
    """The part of the work that a stack is of; its functions come inside out."""
    if not stack:
        return REST
    for function in stack:
        for label, names in PARTS[:-1]:
            if any(name in function for name in names):
                return label
    if any(name in stack[0] for name in DIGESTS):
        return "both digests"
    label, names = PARTS[-1]
    return label if any(name in function for function in stack for name in names) else REST


def samples(data):
    """(process, stack) of each sample; of the stack the functions' names, inside out."""
    script = subprocess.Popen(["perf", "script", "-i", data, "-F", "pid,time,ip,sym"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    pid, stack = None, []
    for line in script.stdout:
        fields = line.split(None, 1)
        if not fields:
            if pid is not None:
                yield pid, stack
            pid, stack = None, []
        elif pid is None:
            pid = int(fields[0])
        elif len(fields) == 2:
            stack.append(fields[1].strip())
    if pid is not None:
        yield pid, stack


def main():
    with tempfile.NamedTemporaryFile(suffix=".perf") as data:
        bench = ["cargo", "bench", "--quiet", "--bench", "store", "--", "--only", "migrate M", "--rounds", "1"]
        record = ["perf", "record", "-q", "-F", "199", "--call-graph", "dwarf,32768", "-o", data.name, "--"]
        subprocess.run(record + bench + sys.argv[1:], check=True)
        parts, ours, bare = collections.defaultdict(collections.Counter), set(), set()
        for pid, stack in samples(data.name):
            parts[pid][part_of(stack)] += 1
            # Of all that the benchmark runs these alone exchange names.
            if any("Folder::exchange" in function for function in stack):
                ours.add(pid)
            elif any(name in function for function in stack for name in ("renameat_with", "do_renameat2")):
                bare.add(pid)
    # Adopting renames too, and is a program of ours.
    bare = [pid for pid in bare - ours if not parts[pid][PARTS[1][0]]]
    if len(ours) != 1 or len(bare) != 1:
        sys.exit(f"profile.py: {len(ours)} migrations and {len(bare)} bare programs were sampled, not one of each")
    ours, floor = parts[ours.pop()], sum(parts[bare[0]].values())
    print(f"\n{sum(ours.values())} samples of the migration, {floor} of the bare program\n")
    print(f"{'CPU time of the migration':<46} {'share':>6} {'beside all of the bare one':>27}")
    for label in [label for label, _ in PARTS] + [REST]:
        print(f"{label:<46} {ours[label] / sum(ours.values()):>6.1%} {ours[label] / floor:>27.2f}")
    print(f"{'all':<46} {1:>6.1%} {sum(ours.values()) / floor:>27.2f}")


if __name__ == "__main__":
    main()
