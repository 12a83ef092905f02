"""Python imports this at its start where the folder is on its path, in every process of a command that a test watches.

Each event goes to the file that WATCH_LOG names, one JSON line: the start of a process; a global that any unpickler
looks up (an audit event of Python itself, whatever module the unpickler is from); a call of pickle's own functions;
code objects that are read otherwise than by an import; and other processes and connections.
"""

import json
import os
import pickle
import sys

EVENTS = ("pickle.find_class", "marshal.load", "marshal.loads", "os.system", "socket.connect", "subprocess.Popen")


def install(path):
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def tell(event, detail):
        frames, frame = [], sys._getframe(2)
        while frame is not None and len(frames) < 12:
            frames.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            frame = frame.f_back
        if event.startswith("marshal.") and any("importlib" in place for place in frames[:4]):
            return  # an import reads a .pyc file
        os.write(log, (json.dumps([event, detail, frames]) + "\n").encode())

    def recorded(name):
        original = getattr(pickle, name)

        def call(*args, **options):
            tell(f"pickle.{name}", "")
            return original(*args, **options)

        return call

    class Unpickler(pickle.Unpickler):
        def load(self):
            tell("pickle.Unpickler.load", "")
            return super().load()

    pickle.load, pickle.loads, pickle.Unpickler = recorded("load"), recorded("loads"), Unpickler
    sys.addaudithook(lambda event, args: tell(event, repr(args)[:300]) if event in EVENTS else None)
    tell("start", " ".join(sys.orig_argv))


if "WATCH_LOG" in os.environ:
    install(os.environ["WATCH_LOG"])
