#!/usr/bin/env python3
"""Judge: securesystemslib (PyPI), the signing library of in-toto and TUF, on a bundle's DSSE envelope."""
# takes: bundle
# flip: bundle statement.dsse.json 40
# flip: bundle statement.dsse.json -20
import base64, glob, json, os, sys

try:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import SSlibKey
    import cryptography
except ImportError as error:
    print("not judged:", error)
    sys.exit(77)

top = sys.argv[1]
place = os.path.join(top, "statement.dsse.json")
if not os.path.exists(place):
    print("not judged: the statement is not signed")
    sys.exit(77)
try:
    texts = os.environ.get("KEY", "").split()
    for path in [] if texts else glob.glob(os.path.join(top, "data/log/keys/*.vkey")):
        with open(path, encoding="utf-8") as file:
            texts.append(file.read().strip())
    keys = []
    for text in texts:
        name, digits, encoded = text.split("+", 2)
        public = base64.b64decode(encoded, validate=True)[1:]
        keys.append(SSlibKey(f"{name}+{digits}", "ed25519", "ed25519", {"public": public.hex()}))
    with open(place, encoding="utf-8") as file:
        envelope = Envelope.from_dict(json.load(file))
    by = envelope.verify(keys, len(envelope.signatures) if len(keys) >= len(envelope.signatures) else 1)
except (OSError, ValueError, KeyError, TypeError, Error) as error:
    print("rejected:", error)
    sys.exit(1)
print("accepted: signed by", ", ".join(sorted(by)))
