"""The help of a command shows the defaults that its configuration has."""

import re

import pytest
import typer
from typer.testing import CliRunner

from lilliput import cli, config

KINDS = {kind.command: kind for kind in vars(config).values() if hasattr(kind, "command")}
KINDS["data check"] = config.TrainingConfig


def command_of(name):
    found = typer.main.get_command(cli.app)
    for word in name.split():
        found = found.commands[word]
    return found


def in_words(parameter, default):
    """A default as help shows it; None where there is nothing to show."""
    if isinstance(default, bool):
        names = parameter.opts if default else parameter.secondary_opts
        return names[0].removeprefix("--") if names else None
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or None
    return None if default is None else str(default)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_option_shows_its_default(name, monkeypatch):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 250)
    result = CliRunner().invoke(cli.app, [*name.split(), "--help"])
    assert result.exit_code == 0
    expected = 0
    for parameter in command_of(name).params:
        field = KINDS[name].model_fields.get(parameter.name)
        if field is None or field.is_required() or parameter.param_type_name == "argument":
            continue
        shown = in_words(parameter, field.default)
        if shown is None:
            continue
        expected += 1
        block = re.search(rf"^│ [* ]*{parameter.opts[0]} .*?(?=^│ [* ]*--|^╰)", result.output, re.MULTILINE | re.DOTALL)
        assert f"[default: {shown}]" in " ".join(block[0].replace("│", " ").split()), block[0]
    assert result.output.count("[default: ") >= expected > 0


def test_a_command_takes_its_defaults_from_its_configuration_alone():
    """Help must not give a flag a value that wins over ``--config``."""
    for command in ("finetune", "compress"):
        CliRunner().invoke(cli.app, [command, "--help"])
        given = command_of(command).make_context(command, []).params
        assert {name: value for name, value in given.items() if value is not None} == {}
