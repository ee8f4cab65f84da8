#!/usr/bin/env python3
"""Changes the source of a pure layer in one place at a time and tells which changes no test sees.

Usage: scripts/mutants.py [--slice N] [--offset N] [--list] [--target DIR] AREA…

AREA is merkle, note, invariants or order. A change is an operator turned round, a number one higher, a condition taken
for its opposite. Each is built alone in a copy of the crate that holds only the layers that the area needs, and the
area's tests run on it; one that does not compile does not count. `tests/mutants.txt` lists survivors that are explained:
a line is "FILE: LINE'S TEXT => ITS CHANGED TEXT: reason". --slice N tries every N-th change, from --offset on. --target is a
folder for what is built (default: one that is thrown away). Prints what was tried and caught; the exit code is 1 if a
survivor is not explained.
"""
import argparse, os, pathlib, re, shutil, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent.parent
PURE = ["base", "merkle", "note", "schema", "format", "plan"]
# What is changed, the modules that it needs, whose unit tests run, and the file of `tests/it` that is about it.
AREAS = {
    "merkle": (["src/merkle"], ["base", "merkle"], "merkle::", "merkle"),
    "note": (["src/note"], ["base", "note"], "note::", None),
    "invariants": (["src/schema/invariant.rs"], ["base", "schema"], "schema::", None),
    "order": (["src/plan/apply.rs", "src/plan/replay.rs", "src/plan/rollback.rs"], PURE, "plan::", None),
}
CHANGES = [
    (r" == ", " != "), (r" != ", " == "), (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
    (r" && ", " || "), (r" \|\| ", " && "), (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " + "), (r" % ", " / "),
    (r" << ", " >> "), (r" >> ", " << "), (r" & ", " | "), (r" \^ ", " & "), (r" \+= ", " -= "), (r" -= ", " += "),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"\bif (?!let\b)(?!!)", "if !"), (r"([(=|] ?|return )!(?=[a-z(])", r"\1"),
    (r"\bis_some\(\)", "is_none()"), (r"\bis_none\(\)", "is_some()"), (r"\.\.=", ".."), (r"(?<=[ (\[])(\d+)(?=[,;) \]])", lambda m: str(int(m.group(1)) + 1)),
]


def sites(path):
    """The changes of one file: line number, line before, line after."""
    tests = False
    for number, line in enumerate(path.read_text().split("\n")):
        tests |= line.startswith("#[cfg(test)]")
        code = line.split("//")[0]
        if tests or not code.strip() or code.lstrip().startswith(("#", "use ", "pub use ")) or "error(" in code or '"' in code:
            continue
        for pattern, into in CHANGES:
            # A bound between types is no operator.
            if pattern in (r" \+ ", r" & ") and re.search(r"\b(impl|dyn|where|fn)\b|'", code):
                continue
            for match in re.finditer(pattern, code):
                yield number, line, line[: match.start()] + match.expand(into) + line[match.end() :] if isinstance(into, str) else line[: match.start()] + into(match) + line[match.end() :]


def crate(area, folder):
    """A copy of the crate with only some modules, and one file of the tests."""
    _, keep, _, test = AREAS[area]
    shutil.copytree(HERE / "src", folder / "src")
    for name in ("Cargo.lock", "Cargo.toml"):
        shutil.copy(HERE / name, folder)
    text = (folder / "Cargo.toml").read_text()
    text = re.sub(r"\[\[(bin|bench|test)\]\][^\[]*", "", text).replace('default-run = "strongroom"\n', "")
    (folder / "Cargo.toml").write_text(text)
    lib = (folder / "src/lib.rs").read_text()
    (folder / "src/lib.rs").write_text(re.sub(r"(#\[cfg[^\n]*\n)?pub mod (\w+);\n", lambda m: m.group(0) if m.group(2) in keep else "", lib))
    (folder / "src/main.rs").unlink()
    if test:
        (folder / "tests").mkdir()
        shutil.copy(HERE / f"tests/it/{test}.rs", folder / "tests")


def verdict(area, folder, environment):
    """What the tests say: caught, survived, or that it does not compile."""
    _, _, unit, test = AREAS[area]
    runs = [["--lib", unit]] + ([["--test", test]] if test else [])
    for run in runs:
        built = subprocess.run(["cargo", "test", "--quiet", "--offline", "--no-run", *run[:2 - ("--lib" in run)]], cwd=folder, env=environment, capture_output=True)
        if built.returncode:
            return "does not compile"
        try:
            tested = subprocess.run(["cargo", "test", "--quiet", "--offline", *run], cwd=folder, env=environment, capture_output=True, timeout=300)
        except subprocess.TimeoutExpired:
            return "caught"
        if tested.returncode:
            return "caught"
    return "survived"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slice", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--target")
    parser.add_argument("areas", nargs="+", choices=AREAS)
    args = parser.parse_args()
    explained = (HERE / "tests/mutants.txt").read_text().splitlines()
    failed = False
    for area in args.areas:
        with tempfile.TemporaryDirectory() as top:
            folder = pathlib.Path(top, "crate")
            folder.mkdir()
            crate(area, folder)
            environment = dict(os.environ, CARGO_TARGET_DIR=args.target or f"{top}/target", PROPTEST_CASES="48", RUST_BACKTRACE="0")
            files = [file for part in AREAS[area][0] for file in ([HERE / part] if part.endswith(".rs") else sorted((HERE / part).rglob("*.rs")))]
            all_sites = [(file.relative_to(HERE), *site) for file in files for site in sites(file)]
            chosen = all_sites[args.offset :: args.slice]
            if args.list:
                print(*(f"{file}:{number + 1}: {after.strip()}" for file, number, _, after in chosen), sep="\n")
                continue
            if verdict(area, folder, environment) != "survived":
                sys.exit(f"{area}: the tests fail on the source as it is")
            said, begun = [], time.monotonic()
            for file, number, before, after in chosen:
                path = folder / file
                whole = path.read_text()
                lines = whole.split("\n")
                lines[number] = after
                path.write_text("\n".join(lines))
                said.append(verdict(area, folder, environment))
                path.write_text(whole)
                if said[-1] == "survived":
                    what = f"{file}: {before.strip()} => {after.strip()}"
                    known = any(line.startswith(what) for line in explained)
                    failed |= not known
                    print(f"survived{' (explained)' if known else ''}: {file}:{number + 1}: {what}", flush=True)
            count = {word: said.count(word) for word in ("caught", "survived", "does not compile")}
            print(f"{area}: {len(all_sites)} changes known, {len(said)} tried, {count}, {time.monotonic() - begun:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
