"""``python -m seqrev``."""

import sys

from seqrev.cli import main

if __name__ == "__main__":
    sys.exit(main())
