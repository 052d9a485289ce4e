"""Run the command line: `python -m higgs_worker`."""

import sys

from higgs_worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
