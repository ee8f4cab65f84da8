#!/usr/bin/env python3
"""Judge: rfc8785 (PyPI), to which every record must already be canonical JSON."""
# takes: store bundle
# The second byte of an entry is the first of its first member's name, which must sort before the others.
# flip: store audit/tile/entries/000.p/* 4 16
# flip: store audit/head 2 16
# flip: bundle data/runs/*/*/entries/000001.json 2 16
# flip: bundle data/runs/*/*/file-list.json 2 24
# flip: bundle data/ro-crate-metadata.json 2 16
import base64, glob, json, os, sys

try:
    import rfc8785
except ImportError as error:
    print("not judged:", error)
    sys.exit(77)

top = sys.argv[1]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def of_store():
    yield "audit/head", read(os.path.join(top, "audit/head"))
    for path in sorted(glob.glob(os.path.join(top, "audit/tile/entries/**"), recursive=True)):
        if os.path.isfile(path):
            data, place = read(path), 0
            while data:
                end = 2 + int.from_bytes(data[:2], "big")
                yield f"{path}, entry {place}", data[2:end]
                data, place = data[end:], place + 1


def of_bundle():
    places = ["data/runs/*/*/entries/*.json", "data/runs/*/*/file-list.json", "data/runs/*/*/file-list/*.json", "data/records/*.json"]
    for place in places:
        for path in sorted(glob.glob(os.path.join(top, place))):
            yield path, read(path)
    yield "the RO-Crate's metadata", read(os.path.join(top, "data/ro-crate-metadata.json")).removesuffix(b"\n")
    envelope = os.path.join(top, "statement.dsse.json")
    if os.path.exists(envelope):
        yield "the statement", base64.b64decode(json.loads(read(envelope))["payload"], validate=True)
    else:
        yield "the statement", read(os.path.join(top, "statement.json"))


count = 0
place = top
try:
    for place, text in of_bundle() if os.path.exists(os.path.join(top, "bagit.txt")) else of_store():
        if rfc8785.dumps(json.loads(text)) != text:
            raise ValueError("is not canonical")
        count += 1
except (OSError, ValueError, KeyError, rfc8785.CanonicalizationError) as error:
    print(f"rejected: {place}: {error}")
    sys.exit(1)
print(f"accepted: {count} records are canonical")
