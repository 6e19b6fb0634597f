"""`python -m localazure`."""

import sys

from localazure.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
