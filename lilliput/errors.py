"""Every error that Lilliput raises on purpose.

    LilliputError
    ├── ConfigError              an option or a YAML key is wrong; the message names it
    ├── DataError                a data file is wrong; the message names file and line
    ├── InputError               a text given to a model can't be answered
    ├── ModelError               a checkpoint can't be used (missing files, unsupported architecture, wrong task)
    ├── BundleError              a bundle is not usable
    │   └── IntegrityError       a file of a bundle differs from its manifest
    ├── GateError                a compressed model failed its parity or accuracy gate
    ├── FetchError               a download failed or was not what its hash promised
    ├── MissingDependencyError   an optional package is needed; the message says which extra to install
    ├── RunError                 a run folder is in use, or belongs to something else
    ├── TrainingError            training can't go on (a loss that is not finite)
    └── PeerError                another process of the same command failed, and tells why

The command line prints the message of any of these and exits with code 2, without a traceback.
"""

from __future__ import annotations


class LilliputError(Exception):
    """Base class: the message says what is wrong, where, and what to do."""


class ConfigError(LilliputError, ValueError):
    """An option or a configuration key is wrong."""


class DataError(LilliputError, ValueError):
    """A data file is malformed, empty, or does not fit the task."""


class InputError(LilliputError, ValueError):
    """A text given to a model is not something that it can answer."""


class ModelError(LilliputError):
    """A checkpoint is missing files, or is of an unsupported architecture or task."""


class BundleError(LilliputError):
    """A bundle is missing, or lacks what was asked of it."""


class IntegrityError(BundleError):
    """A file of a bundle is missing, changed, truncated, or not listed."""


class GateError(LilliputError):
    """A compressed model differs more from its original than its gate allows."""


class FetchError(LilliputError):
    """A download failed, or its SHA-256 is not the expected one."""


class MissingDependencyError(LilliputError, ImportError):
    """A package of an optional extra is not installed."""


class RunError(LilliputError):
    """A run folder is in use by another process, or is not a run folder."""


class TrainingError(LilliputError):
    """Training stopped because going on would spoil the model."""


class PeerError(LilliputError):
    """Another process of the same command failed; that one tells why."""
