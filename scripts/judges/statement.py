#!/usr/bin/env python3
"""Judge: in-toto-attestation (PyPI), which reads a bundle's statement; its subjects are then the files there."""
# takes: bundle
# flip: bundle statement.dsse.json 40
# flip: bundle data/runs/*/*/files/outputs/* 0
# flip: bundle report.html 100
import base64, hashlib, json, os, sys

try:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
except ImportError as error:
    print("not judged:", error)
    sys.exit(77)

top = sys.argv[1]
try:
    if os.path.exists(os.path.join(top, "statement.dsse.json")):
        with open(os.path.join(top, "statement.dsse.json"), encoding="utf-8") as file:
            text = base64.b64decode(json.load(file)["payload"], validate=True)
    else:
        with open(os.path.join(top, "statement.json"), "rb") as file:
            text = file.read()
    statement = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
    statement.validate()
    stated = {subject.name: subject.digest["sha256"] for subject in statement.pb.subject}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            place = os.path.relpath(path, top)
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            if place not in ("statement.dsse.json", "statement.json", "tagmanifest-sha256.txt"):
                if stated.pop(place, None) != digest:
                    raise ValueError(f"{place} is not as stated")
    if stated:
        raise ValueError(f"stated and not there: {', '.join(stated)}")
except (OSError, ValueError, KeyError, json_format.Error) as error:
    print("rejected:", error)
    sys.exit(1)
print("accepted: an in-toto statement of", len(statement.pb.subject), "files, all as stated")
