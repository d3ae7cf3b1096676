"""`python -m fmviz`: the same as the command `fmviz`."""

import sys

from fmviz.cli import main

if __name__ == "__main__":
    sys.exit(main())
