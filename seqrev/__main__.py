"""``python -m seqrev``."""

from seqrev.cli import entry

if __name__ == "__main__":
    entry()
