"""`python -m inglenook.server ...` is `inglenook serve ...`."""

from __future__ import annotations

import sys

from inglenook.cli.main import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
