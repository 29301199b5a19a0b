"""Run stage scripts one after the other in this process: python -m tests.learning.run_commands FILE

The file is JSON: a list of lists, each of a module and its arguments. Each script has a port of its own, for processes
that run the same scripts together.
"""

import json
import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    first_port = int(os.environ.get("MASTER_PORT", "0"))
    for number, words in enumerate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))):
        os.environ["MASTER_PORT"] = str(first_port + number)
        sys.argv = words
        print(*words, file=sys.stderr, flush=True)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
