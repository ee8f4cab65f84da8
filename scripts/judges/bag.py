#!/usr/bin/env python3
"""Judge: bagit.py of the Library of Congress (PyPI bagit), which validates a bundle as a bag."""
# takes: bundle
# flip: bundle data/runs/*/*/files/outputs/* 0
# flip: bundle data/log/checkpoint 5
# flip: bundle bag-info.txt -3
# flip: bundle tagmanifest-sha256.txt 3
import logging, os, sys

try:
    import bagit
except ImportError as error:
    print("not judged:", error)
    sys.exit(77)

logging.disable()
top = sys.argv[1]
with open(os.path.join(top, "manifest-sha256.txt"), encoding="utf-8") as manifest:
    if "%25" in manifest.read():
        print("not judged: the bag has a name with a percent sign, which bagit.py does not decode")
        sys.exit(77)
try:
    bag = bagit.Bag(top)
    bag.validate()
except (bagit.BagError, OSError, ValueError) as error:
    print("rejected:", error)
    sys.exit(1)
print("accepted: a valid bag of", len(bag.payload_entries()), "files")
