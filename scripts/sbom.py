#!/usr/bin/env python3
"""Prints the bill of materials of a build as CycloneDX 1.5: every crate that is compiled in, with version, licence,
checksum and what needs it. The same Cargo.lock gives the same bytes.

Usage: scripts/sbom.py [--features FEATURES] [--no-default-features]  > strongroom.cdx.json

It asks cargo for what is built for this machine and leaves out what only tests need. It fails when a crate comes from
elsewhere than the default registry, has no checksum or names no licence.
"""
import argparse, json, os, subprocess, sys, tomllib

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REGISTRY = "registry+https://github.com/rust-lang/"


def cargo(*argv):
    return subprocess.run(["cargo", *argv], cwd=HERE, check=True, capture_output=True, text=True).stdout


def needed(nodes, root):
    """What the root needs to be built or to run, itself included."""
    found, walk = set(), [root]
    while walk:
        if (here := walk.pop()) not in found:
            found.add(here)
            walk += [dep["pkg"] for dep in nodes[here]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
    return found


def component(package, sums):
    name, version, bad = package["name"], package["version"], []
    one = {"type": "library", "bom-ref": f"pkg:cargo/{name}@{version}", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
    if package["license"]:
        one["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    else:
        bad.append(f"{name} {version} names no licence")
    if not (package["source"] or "").startswith(REGISTRY):
        bad.append(f"{name} {version} comes from {package['source']}")
    elif (name, version) in sums:
        one["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    else:
        bad.append(f"{name} {version} has no checksum in Cargo.lock")
    return one, bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features")
    parser.add_argument("--no-default-features", action="store_true")
    args = parser.parse_args()
    host = next(line.split()[1] for line in subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout.splitlines() if line.startswith("host:"))
    chosen = (["--features", args.features] if args.features else []) + (["--no-default-features"] if args.no_default_features else [])
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", host, *chosen))
    with open(os.path.join(HERE, "Cargo.lock"), "rb") as file:
        sums = {(p["name"], p["version"]): p["checksum"] for p in tomllib.load(file)["package"] if "checksum" in p}
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    reference = lambda id_: f"pkg:cargo/{packages[id_]['name']}@{packages[id_]['version']}"
    used, components, wrong = needed(nodes, root), [], []
    for id_ in sorted(used - {root}, key=reference):
        one, bad = component(packages[id_], sums)
        components.append(one)
        wrong += bad
    own = {"type": "application", "bom-ref": reference(root), "name": packages[root]["name"], "version": packages[root]["version"]}
    own["licenses"] = [{"expression": packages[root]["license"]}]
    needs = [
        {"ref": reference(id_), "dependsOn": sorted(reference(dep["pkg"]) for dep in nodes[id_]["deps"] if dep["pkg"] in used and any(kind["kind"] != "dev" for kind in dep["dep_kinds"]))}
        for id_ in sorted(used, key=reference)
    ]
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": own}, "components": components, "dependencies": needs}
    print(json.dumps(bill, indent=1))
    print(f"{len(components)} crates", file=sys.stderr)
    for text in wrong:
        print(text, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
