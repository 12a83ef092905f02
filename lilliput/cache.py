"""Where Lilliput keeps what it downloads. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder for downloads: ``$LILLIPUT_CACHE``, or the platform's cache folder. It may not exist yet."""
    if chosen := os.environ.get("LILLIPUT_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lilliput"
