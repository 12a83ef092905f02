"""Help that shows the default of every flag, which its command's configuration alone knows."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand


class ShowsDefaults(TyperCommand):
    """A command whose help takes the defaults of its flags from its configuration."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help. Nothing is parsed afterwards, so the flags can be given their defaults for it."""
        defaults = _defaults(_words(ctx))
        for parameter in self.params:
            if parameter.default is None:
                parameter.default = defaults.get(str(parameter.name))
        super().format_help(ctx, formatter)


def show_defaults(app: typer.Typer) -> None:
    """Let the help of every command of ``app`` show defaults."""
    for command in app.registered_commands:
        command.cls = ShowsDefaults


def _words(ctx: Any) -> str:
    """The command's name, such as "tokenizer train"."""
    words: list[str] = []
    while ctx.parent is not None:
        words.insert(0, ctx.info_name)
        ctx = ctx.parent
    return " ".join(words)


def _defaults(command: str) -> dict[str, Any]:
    """The defaults of a command's configuration; none where it has no configuration, or pydantic is not installed."""
    try:
        from lilliput import config
    except ImportError:
        return {}
    kinds = {kind.command: kind for kind in vars(config).values() if hasattr(kind, "command")}
    kinds["data check"] = config.TrainingConfig  # it reads data as training does
    fields = kinds[command].model_fields if command in kinds else {}
    return {name: field.default for name, field in fields.items() if not field.is_required()}
