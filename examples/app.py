"""An app around a bundle: `python examples/app.py BUNDLE` answers what you type, a line at a time.

Needs the base install and ONNX Runtime only. Load once, at the start: a model may be called from any number of threads.
"""

import sys

import lilliput
from lilliput.errors import LilliputError


def main() -> int:
    """Load the bundle that the command line names and answer standard input."""
    if len(sys.argv) != 2:
        print("usage: python examples/app.py BUNDLE", file=sys.stderr)
        return 2
    try:
        model = lilliput.load(sys.argv[1])
        for line in sys.stdin:
            (answer,) = model(line.rstrip("\n"))
            print(f"{answer['label']} ({answer['score']:.0%})", flush=True)
    except LilliputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
