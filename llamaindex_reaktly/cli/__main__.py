"""`python -m llamaindex_reaktly.cli`, the same as `reaktly`."""

from llamaindex_reaktly.cli import main

if __name__ == "__main__":
    main()
