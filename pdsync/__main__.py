"""`python -m pdsync`."""

from pdsync.cli import main

if __name__ == "__main__":
    main()
