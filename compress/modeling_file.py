"""A checkpoint of unequal blocks for those who have transformers and not Lilliput.

Beside the checkpoint goes the code of its architecture, which transformers runs for those who tell it to trust code of
the checkpoint. Lilliput never runs such code: it has the architecture itself.
"""

from __future__ import annotations

import json
from pathlib import Path

from lilliput.architectures import pruned
from lilliput.errors import ConfigError

FILE = "modeling_lilliput.py"


def write_modeling_file(folder: Path) -> Path:
    """Write ``modeling_lilliput.py`` into the folder of a checkpoint, and say in its config.json that it is there.

    The file is a copy of ``lilliput/architectures/pruned.py``.

    Raises:
        ConfigError: no config.json in ``folder``, or one of a model that plain transformers can load as it is.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no configuration of a model; give a folder written by save_pretrained") from error
    ours = next((plain for plain, own in pruned.CONFIGS.items() if own.model_type == kind), None)
    if ours is None:
        raise ConfigError(f"{path}: a model of type {kind!r} needs no code of ours to be loaded")
    config["auto_map"] = {"AutoConfig": f"{Path(FILE).stem}.{pruned.CONFIGS[ours].__name__}"}
    for plain, own in pruned.MODELS.items():
        if own.config_class is pruned.CONFIGS[ours]:
            config["auto_map"][pruned.auto_class_of(plain)] = f"{Path(FILE).stem}.{own.__name__}"
    code = Path(pruned.__file__).read_text(encoding="utf-8")
    (folder / FILE).write_text(code, encoding="utf-8")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder / FILE
