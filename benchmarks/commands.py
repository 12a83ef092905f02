"""Lilliput's own commands in fresh processes, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lilliput import machine
from lilliput.benchmarks.worker import environment
from lilliput.config import Config
from lilliput.errors import LilliputError


def run(config: Config) -> dict[str, Any]:
    """Run the command of a configuration on all cores, without a network; its result.

    Raises:
        LilliputError: it failed; the message is the command's own.
    """
    with tempfile.TemporaryDirectory() as name:
        settings, result = Path(name) / "config.yaml", Path(name) / "result.json"
        settings.write_text(config.to_yaml(), encoding="utf-8")
        command = [sys.executable, "-m", "lilliput", *config.command.split()]
        done = subprocess.run(
            [*command, f"--config={settings}", f"--json={result}"],
            env={**os.environ, **environment(machine.usable_cores())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            _, _, message = done.stderr.rpartition("error: ")
            raise LilliputError(message.strip()[-2000:] or f"lilliput {config.command} ended with {done.returncode}")
        return json.loads(result.read_text(encoding="utf-8"))
