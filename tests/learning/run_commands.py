"""Run command lines of stage scripts one after the other in this process: python -m tests.learning.run_commands FILE

The file has a command in each line. Each has a port of its own, for processes that run the same commands together.
"""

import os
import runpy
import shlex
import sys
from pathlib import Path

if __name__ == "__main__":
    first_port = int(os.environ.get("MASTER_PORT", "0"))
    for number, command in enumerate(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()):
        os.environ["MASTER_PORT"] = str(first_port + number)
        words = shlex.split(command)
        module, *arguments = words[words.index("-m") + 1 :]
        sys.argv = [module, *arguments]
        print(command, file=sys.stderr, flush=True)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
