"""``python -m lilliput`` is the command line."""

from lilliput.cli import main

if __name__ == "__main__":  # processes that are spawned import it, too
    main()
