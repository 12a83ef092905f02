"""README, docs and help say what is there: commands parse, flags exist, links lead somewhere, configurations read."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from lilliput import config
from lilliput.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE_OF = {
    "demo": "demo",
    "data": "data",
    "tokenizer": "pretrain",
    "pretrain": "pretrain",
    "finetune": "train",
    "distill": "distill",
    "prune": "prune",
    "compress": "compress",
    "export": "export",
    "quantize": "quantize",
    "benchmark": "benchmark",
    "compare": "benchmark",
    "predict": "predict",
    "verify": "predict",
    "sign": "predict",
    "serve": "serve",
    "doctor": "predict",
}
COMMAND_OF = {"train": "finetune"}
"""The command whose options a page lists, where the page is not called after it."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")


def commands():
    """Every command of the command line, by its words: "distill", "data check"."""
    top = typer.main.get_command(app)
    for name, command in top.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", below) for inner, below in command.commands.items())
        else:
            yield name, command


COMMANDS = dict(commands())
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


def flags_of(command):
    every = [flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)]
    return {flag for flag in every if flag.startswith("-")} | {"--help", "-h"}


def blocks(path, language):
    """The fenced blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shell_lines(path):
    """The commands of a page's shell blocks, as words; what is joined by a pipe or by && is taken apart."""
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = next((place for place, word in enumerate(words) if word in ("|", "&&")), len(words))
                yield words[:end]
                words = words[end + 1 :]


def parse(words):
    """Parse a command line that begins with "lilliput", without running it; an unknown command or flag raises."""
    name, rest = (" ".join(words[1:3]), words[3:]) if words[1] in GROUPS else (words[1], words[2:])
    assert name in COMMANDS, f"there is no command {name!r}"
    COMMANDS[name].make_context(name, rest)


LINES = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}")
    for path in PAGES
    for words in shell_lines(path)
    if words[0] == "lilliput"
]


def test_a_wrong_line_is_seen():
    with pytest.raises(AssertionError, match="there is no command 'compres'"):
        parse(["lilliput", "compres", "x"])
    with pytest.raises(Exception, match="No such option: --techer"):
        parse(["lilliput", "distill", "--techer", "x"])
    with pytest.raises(Exception, match="Missing"):
        parse(["lilliput", "verify"])


@pytest.mark.parametrize("words", LINES)
def test_every_command_line_parses(words):
    parse(words)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_other_lines_name_what_is_there(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in shell_lines(path):
        if words[0] == "make":
            assert words[1] in targets, f"make {words[1]}: no such target"
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), f"{words[1]} is not there"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_relative_link_resolves(path):
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not target.startswith(("http://", "https://", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: {target} leads nowhere"


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    there = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in there if f"({name})" not in index} == set()


def test_every_command_has_a_page():
    assert {name.split()[0] for name in COMMANDS} == set(PAGE_OF)
    assert all((ROOT / "docs" / f"{page}.md").is_file() for page in PAGE_OF.values())


@pytest.mark.parametrize("page", sorted(set(PAGE_OF.values())))
def test_the_flags_a_page_names_exist(page):
    """Flags of the page's own commands, and of a command that the same line names in full."""
    own = [command for name, command in COMMANDS.items() if PAGE_OF[name.split()[0]] == page]
    for line in (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").splitlines():
        if "python -m lilliput.benchmarks" in line:  # a row of figures, with the command that measured it
            continue
        named = [command for name, command in COMMANDS.items() if f"lilliput {name}" in line]
        known = set().union(*(flags_of(command) for command in [*own, *named]))
        assert set(FLAG.findall(line)) <= known, f"{page}.md: {set(FLAG.findall(line)) - known} in: {line}"


@pytest.fixture
def help_of(monkeypatch):
    """The help of a command, on lines wide enough for every flag."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)

    def show(name):
        result = CliRunner().invoke(app, [*name.split(), "--help"])
        assert result.exit_code == 0
        return result.output

    return show


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_flag_and_gives_an_example_that_parses(name, help_of):
    text = help_of(name)
    shown = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
    assert flags_of(COMMANDS[name]) <= shown
    example = re.search(r"Example: `(lilliput [^`]+)`", COMMANDS[name].callback.__doc__)
    assert example, f"{name}: its help needs a line 'Example: `lilliput …`'"
    assert "Example: lilliput" in text
    parse(shlex.split(example[1]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_says_what_it_does(name):
    silent = [parameter.name for parameter in COMMANDS[name].params if not parameter.help]
    assert not silent, f"{name}: no help for {silent}"


CONFIGS = {kind.command: kind for kind in vars(config).values() if hasattr(kind, "command")}


@pytest.mark.parametrize("command", CONFIGS)
def test_flags_and_keys_are_the_same(command):
    flags = {parameter.name for parameter in COMMANDS[command].params} - {"config", "json_file"}
    assert flags == set(CONFIGS[command].model_fields)


def stated_defaults():
    """Flag and default as the tables of the pages have them; words like "all" stand for None."""
    for page in PAGES:
        tables = re.findall(r"^\| option \| default .*\n(?:\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE)
        for row in "".join(tables).splitlines():
            flags, values = (cell.replace("`", "").split(", ") for cell in row.split("|")[1:3])
            command = COMMAND_OF.get(page.stem, page.stem)
            yield from ((command, *pair) for pair in zip(flags, values, strict=True) if FLAG.search(flags[0]))


@pytest.mark.parametrize(("command", "flag", "stated"), list(stated_defaults()))
def test_the_defaults_on_a_page_are_the_defaults(command, flag, stated):
    default = CONFIGS[command].model_fields[flag.strip(" -").replace("-", "_")].default
    if isinstance(default, int | float):
        assert float(stated) == default
    elif isinstance(default, tuple):
        assert tuple(stated.strip().split(",")) == default
    elif default is None:
        assert stated.strip() in ("all", "none", "the folder's name", "the task's")
    else:
        assert stated.strip() == default


YAML = [
    (path, block)
    for path in PAGES
    if COMMAND_OF.get(path.stem, path.stem) in CONFIGS  # on other pages it is for other programs
    for block in blocks(path, "yaml")
]


@pytest.mark.parametrize(("path", "block"), YAML, ids=[f"{path.name}-{i}" for i, (path, _) in enumerate(YAML)])
def test_configurations_on_a_page_are_read(path, block, tmp_path):
    kind = CONFIGS[COMMAND_OF.get(path.stem, path.stem)]
    (tmp_path / "config.yaml").write_text(block, encoding="utf-8")
    built = config.build(kind, tmp_path / "config.yaml", out=tmp_path)
    assert built.model_fields_set == set(yaml.safe_load(block)) | {"out"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_on_a_page_compiles(path):
    for block in blocks(path, "python"):
        compile(block, str(path), "exec")
