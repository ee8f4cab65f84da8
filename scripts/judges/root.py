#!/usr/bin/env python3
"""Judge: pymerkle (PyPI), which builds the tree of all entries anew and compares its root."""
# takes: store
# flip: store audit/tile/entries/000.p/* 40
# flip: store audit/tile/entries/000.p/* -40
# flip: store audit/checkpoint -170
import base64, glob, json, os, sys

try:
    import pymerkle
except ImportError as error:
    print("not judged:", error)
    sys.exit(77)

top = sys.argv[1]


def reject(what):
    print("rejected:", what)
    sys.exit(1)


def entries(size):
    """The first so many entries: bundles of 256, each entry after its length in two bytes."""
    for number in range((size + 255) // 256):
        rest, name = number // 1000, f"{number % 1000:03}"
        while rest:
            rest, name = rest // 1000, f"x{rest % 1000:03}/{name}"
        path = os.path.join(top, "audit/tile/entries", name)
        if not os.path.isfile(path):
            path = max(glob.glob(glob.escape(path) + ".p/*"), key=lambda p: int(p.rsplit("/", 1)[1]))
        with open(path, "rb") as file:
            data = file.read()
        for _ in range(min(256, size - 256 * number)):
            end = 2 + int.from_bytes(data[:2], "big")
            if len(data) < max(end, 2):
                raise ValueError(f"{path} ends early")
            yield data[2:end]
            data = data[end:]


def checkpoint(path):
    """Size and root that a checkpoint says; its signature is for others to judge."""
    with open(path, "rb") as file:
        _, size, root = file.read().split(b"\n")[:3]
    return int(size), base64.b64decode(root, validate=True)


try:
    with open(os.path.join(top, "audit/head"), "rb") as file:
        head = json.load(file)
    said = [("audit/head", head["size"], bytes.fromhex(head["root"].removeprefix("sha256:")))]
    for path in glob.glob(os.path.join(top, "audit/checkpoint")) + glob.glob(os.path.join(top, "audit/anchors/*/checkpoint")):
        said.append((path, *checkpoint(path)))
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries(head["size"]):
        tree.append_entry(entry)
    for path, size, root in said:
        if size > head["size"]:
            reject(f"{path} is of {size} entries, the store has {head['size']}")
        if size and tree.get_root(size) != root:
            reject(f"{path} says {root.hex()}, the entries give {tree.get_root(size).hex()}")
except (OSError, ValueError, KeyError, IndexError) as error:
    reject(repr(error))
print(f"accepted: {head['size']} entries give the root of each of {len(said)} heads")
