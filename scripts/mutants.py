#!/usr/bin/env python3
"""Changes the source in one place at a time and tells which changes no test sees.

Usage: scripts/mutants.py [--slice N] [--offset N] [--only N,N…] [--jobs N] [--list] AREA…

AREA is merkle, note, invariants or order. A change is an operator turned round, a number one higher, a condition taken
for its opposite, a call for its effect left out. `scripts/mutate` puts all changes of an area into a copy of the crate
that holds only the layers that the area needs, each behind a switch, so that one build serves them all; those that can
have no switch (constants, patterns) are built alone. The area's tests then run on each. One that does not compile does
not count; one that takes five times the time of the tests, and no less than 3 s of a processor, counts as caught.
`tests/mutants.txt` lists survivors that are explained: a line is "FILE: LINE'S TEXT => ITS CHANGED TEXT: reason".
--slice N tries every N-th change, from --offset on. What is built lies in `target`. Prints what was tried and
caught; the exit code is 1 if a survivor is not explained.
"""
import argparse, concurrent.futures, json, os, pathlib, re, resource, shutil, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
# Features that an area's code needs to be built at all.
FEATURES = {"note": "ml-dsa"}
PURE = ["base", "merkle", "note", "schema", "format", "plan"]
# What is changed, the modules that it needs, whose unit tests run, and the file of `tests/it` that is about it.
AREAS = {
    "merkle": (["src/merkle"], ["base", "merkle"], "merkle::", "merkle"),
    "note": (["src/note"], ["base", "note"], "note::", None),
    "invariants": (["src/schema/invariant.rs"], ["base", "schema"], "schema::", None),
    "order": (["src/plan/apply.rs", "src/plan/replay.rs", "src/plan/rollback.rs"], PURE, "plan::", None),
}
# Some tests go through all small trees, which takes long enough unoptimized.
OPTIMIZED = {"CARGO_PROFILE_DEV_OPT_LEVEL": "1", "CARGO_PROFILE_TEST_OPT_LEVEL": "1"}
SWITCH = """
/// Whether the change of this number is the one that is tried.
pub fn mutant(number: usize) -> bool {
    static CHOSEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
}
"""
ALLOW = "#![allow(warnings, arithmetic_overflow, overflowing_literals, unconditional_panic, unconditional_recursion)]\n"


def crate(area, folder):
    """A copy of the crate with only some modules, and one file of the tests."""
    _, keep, _, test = AREAS[area]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "src", folder / "src")
    shutil.copy(HERE / "Cargo.lock", folder)
    text = re.sub(r"\[\[(bin|bench|test)\]\][^\[]*", "", (HERE / "Cargo.toml").read_text()).replace('default-run = "strongroom"\n', "")
    # Under a name of its own, since what is built of it must not pass for the crate itself, or for another copy.
    text = text.replace('name = "strongroom"', f'name = "strongroom-mutants-{folder.name}"', 1)
    (folder / "Cargo.toml").write_text(text + "\n[workspace]\n")
    lib = re.sub(r"(#\[cfg[^\n]*\n)?pub mod (\w+);\n", lambda m: m.group(0) if m.group(2) in keep else "", (HERE / "src/lib.rs").read_text())
    head = re.match(r"(//!.*\n)*", lib).end()
    (folder / "src/lib.rs").write_text(lib[:head] + ALLOW + lib[head:] + SWITCH)
    (folder / "src/main.rs").unlink()
    if test:
        (folder / "tests").mkdir()
        shutil.copy(HERE / f"tests/it/{test}.rs", folder / "tests")


def mutate(folder, files, skip):
    """Rewrites the files with all changes in them; gives the changes."""
    program = TARGET / "mutate/debug/strongroom-mutate"
    environment = dict(os.environ, CARGO_TARGET_DIR=str(TARGET / "mutate"))
    subprocess.run(["cargo", "build", "--quiet"], cwd=HERE / "scripts/mutate", env=environment, check=True)
    for file in files:
        shutil.copy(HERE / file, folder / file)
    told = subprocess.run([program, folder, ",".join(map(str, skip)) or "0", *files], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def build(area, folder):
    """The test programs, or the changes that the compiler objects to."""
    test = AREAS[area][3]
    command = ["cargo", "test", "--no-run", "--offline", "--message-format", "json", "--features", FEATURES.get(area, "default"), "--lib", *(["--test", test] if test else [])]
    told = subprocess.run(command, cwd=folder, env=dict(os.environ, **OPTIMIZED, CARGO_TARGET_DIR=str(TARGET)), capture_output=True, text=True)
    programs, bad = [], set()
    for message in map(json.loads, told.stdout.splitlines()):
        if message.get("executable"):
            programs.append(message["executable"])
        if message.get("message", {}).get("level") == "error":
            for span in message["message"]["spans"]:
                path = folder / span["file_name"]
                text = path.read_bytes() if path.is_file() else b""
                near = [int(n) for n in re.findall(rb"crate :: mutant \((\d+)", text[: span["byte_end"]].replace(b"usize", b""))]
                bad.update(near[-1:])
    return (None, bad, told.stderr[-3000:]) if told.returncode else (sorted(programs, key=lambda path: not pathlib.Path(path).name.startswith("strongroom")), bad, "")


def run(area, programs, number, took):
    """What the tests say: caught or survived. The first time takes down how long each of them took; then the slow ones come last."""
    first = not took
    if first:
        commands = [([program, *([AREAS[area][2]] if at == 0 else [])], 600) for at, program in enumerate(programs)]
    else:
        commands = []
        for slow in (False, True):
            for at, program in enumerate(programs):
                chosen = {name: seconds for (of, name), seconds in took.items() if of == at and (seconds > 0.1) == slow}
                commands += [([program, "--exact", *chosen], max(3, int(5 * sum(chosen.values()))))] if chosen else []
    environment = dict(os.environ, MUTANT=str(number), PROPTEST_CASES="48", RUST_BACKTRACE="0")
    for at, (command, seconds) in enumerate(commands):
        def limits(seconds=seconds):
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

        used, begun, times = usage(), time.monotonic(), {}
        with subprocess.Popen([*command, "--test-threads", "1"], cwd=HERE, env=environment, preexec_fn=limits, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace") as tests:
            for line in tests.stdout:
                # The first test that fails is enough.
                if line.endswith("FAILED\n"):
                    tests.kill()
                    return "caught"
                if name := re.match(r"test (\S+) .*ok$", line):
                    times[at, name.group(1)], begun = time.monotonic() - begun, time.monotonic()
        if tests.returncode:
            return "caught"
        if first:
            # The clock also counts how long others had the processor.
            share = (usage() - used) / max(sum(times.values()), 0.001)
            took |= {name: seconds * min(share, 1) for name, seconds in times.items()}
    return "survived"


def usage():
    """How many seconds of a processor the programs had that were started here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def alone(area, folder, change, took):
    """Builds one change that can have no switch, and runs the tests."""
    path = folder / change["file"]
    whole = path.read_bytes()
    text = whole
    for start, end, into in reversed(change["edits"]):
        text = text[:start] + into.encode() + text[end:]
    path.write_bytes(text)
    programs, _, _ = build(area, folder)
    verdict = run(area, programs, 0, took) if programs else "does not compile"
    path.write_bytes(whole)
    return verdict


def tried(area, args, explained):
    """Tries an area's changes; says whether all survivors are explained."""
    files = [str(file.relative_to(HERE)) for part in AREAS[area][0] for file in ([HERE / part] if part.endswith(".rs") else sorted((HERE / part).rglob("*.rs")))]
    folder, apart = TARGET / f"mutants/{area}", TARGET / f"mutants/{area}-alone"
    crate(area, folder)
    skip, changes = set(), mutate(folder, files, ())
    if args.list:
        print(*(f"{c['number']} {c['file']}:{c['line']}: {c['before']} => {c['after']}" for c in changes), sep="\n")
        return True
    begun = time.monotonic()
    while True:
        programs, bad, said = build(area, folder)
        if programs:
            break
        if bad <= skip:
            sys.exit(f"{area}: no build with all changes\n{said}")
        skip |= bad
        changes = mutate(folder, files, skip)
    took = {}
    if run(area, programs, 0, took) != "survived":
        sys.exit(f"{area}: the tests fail on the source as it is")
    print(f"{area}: {len(changes)} changes, {sum(not c['switch'] for c in changes)} of them without a switch; built in {time.monotonic() - begun:.0f} s", flush=True)
    chosen = [c for c in changes[args.offset :: args.slice] if not args.only or c["number"] in args.only]
    said = {}

    def tell(change, verdict):
        said[change["number"]] = verdict
        if verdict == "survived":
            what = f"{change['file']}: {change['before']} => {change['after']}"
            known = any(line.startswith(what) for line in explained)
            said[change["number"]] = "explained" if known else "survived"
            print(f"{said[change['number']]}: {change['number']} {change['file']}:{change['line']}: {what}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        at_work = {pool.submit(run, area, programs, c["number"], took): c for c in chosen if c["switch"]}
        for done in concurrent.futures.as_completed(at_work):
            tell(at_work[done], done.result())
    crate(area, apart)
    for change in chosen:
        if not change["switch"]:
            tell(change, alone(area, apart, change, took))
    count = {word: list(said.values()).count(word) for word in ("caught", "survived", "explained", "does not compile")}
    share = 100 * count["caught"] / max(1, len(said) - count["does not compile"])
    print(f"{area}: {len(said)} tried, {count}, {share:.1f} % caught, {time.monotonic() - begun:.0f} s", flush=True)
    return not count["survived"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slice", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--only", type=lambda text: {int(number) for number in text.split(",")}, default=set())
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("areas", nargs="+", choices=AREAS)
    args = parser.parse_args()
    explained = (HERE / "tests/mutants.txt").read_text().splitlines()
    sys.exit(0 if all([tried(area, args, explained) for area in args.areas]) else 1)


if __name__ == "__main__":
    main()
