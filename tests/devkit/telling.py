"""`python -m tests.devkit.telling [WORDS] STATUS|wait`: tells how it was started, and ends with that status."""

import atexit
import json
import os
import signal
import sys

COLOUR = os.environ.get("COLOUR")

if __name__ == "__main__":
    facts = {
        "colour": COLOUR,
        "command": sys.orig_argv,
        "arguments": sys.argv[1:],
        "file": sys.argv[0],
        "directory": os.getcwd(),  # noqa: PTH109
        "input": sys.stdin.read(),
        "leads its session": os.getsid(0) == os.getpid(),
        "is main": sys.modules["__main__"].__dict__.get("COLOUR") == COLOUR,
    }
    print(json.dumps(facts))
    atexit.register(print, "at the end")
    if sys.argv[-1] == "wait":
        signal.pause()
    sys.exit(int(sys.argv[-1]))
