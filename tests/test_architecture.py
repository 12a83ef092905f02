"""The house rules that imports and files can break: floors, the torch-free runtime, sizes, names, docstrings."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("lilliput", "train", "export", "compress", "benchmarks")
HEAVY = ("torch", "transformers", "onnx", "onnxscript", "scipy", "sklearn", "pydantic", "yaml", "datasets", "pandas")
BASE = {"numpy", "tokenizers", "huggingface_hub", "typer", "rich", "onnxruntime", "lilliput"}
TORCH_FREE = ("__init__", "bundle", "runtime", "tasks", "timing", "errors", "types")
OPTIONAL = {"lilliput.signatures": {"cryptography"}}
"""Imported in a try inside a function, done without where it is missing."""
EVALUATION = {"sklearn", "scipy", "seqeval"}  # imported inside functions of the task table that only training calls
MAX_LINES = 400

# Each floor, and the floors that its modules may import. The first match of a module's name decides its floor.
FLOORS = {
    "lilliput.cli": "top",
    "lilliput.commands": "top",
    "lilliput.__main__": "top",
    "lilliput.pipeline": "top",
    "lilliput.quantizing": "top",
    "lilliput.demo": "top",
    "lilliput.compressing": "top",
    "lilliput.steps": "top",
    "lilliput.benchmarks": "benchmarks",
    "lilliput.compress": "compress",
    "lilliput.train": "train",
    "lilliput.export": "export",
    "lilliput": "ground",
}
MAY_IMPORT = {
    "top": {"top", "benchmarks", "compress", "train", "export", "ground"},
    "benchmarks": {"benchmarks", "compress", "train", "export", "ground"},
    "compress": {"compress", "train", "export", "ground"},
    "train": {"train", "ground"},
    "export": {"export", "ground"},
    "ground": {"ground"},
}


def module_name(path):
    """The name under which a file is installed: train/data.py is lilliput.train.data."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "lilliput" else ("lilliput", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}
TASKS = [name for name in SOURCES if name.split(".")[:2] == ["lilliput", "tasks"]]
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
PYTHON_FILES = [*SOURCES.values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]


def imports_of(name):
    """Every module that ``name`` imports anywhere, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import in line {node.lineno}; write lilliput.…"
            assert node.module is not None
            children = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {child if child in SOURCES else node.module for child in children}
    return found


def floor_of(name):
    return next(floor for prefix, floor in FLOORS.items() if name == prefix or name.startswith(f"{prefix}."))


def test_the_floors_are_told_apart():
    assert floor_of("lilliput.train.data") == "train"
    assert floor_of("lilliput.runtime") == "ground"
    assert floor_of("lilliput.trainer") == "ground"
    assert floor_of("lilliput.cli") == "top"
    assert {"lilliput", "lilliput.errors", "lilliput.train.data", "lilliput.train.embedded"} <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_downwards(name):
    wrong = {
        other
        for other in imports_of(name)
        if other.split(".")[0] == "lilliput" and floor_of(other) not in MAY_IMPORT[floor_of(name)]
    }
    assert not wrong, f"{name} is on the floor {floor_of(name)!r} and may not import {sorted(wrong)}"


@pytest.mark.parametrize("name", SOURCES)
def test_the_installed_names_are_imported(name):
    bare = {other for other in imports_of(name) if other.split(".")[0] in FOLDERS[1:]}
    assert not bare, f"{name} imports {sorted(bare)}: write lilliput.… in front"


def torch_free_modules():
    parts = {name: (*name.split("."), "__init__")[1] for name in SOURCES}
    return [name for name, part in parts.items() if part in TORCH_FREE and floor_of(name) == "ground"]


@pytest.mark.parametrize("name", torch_free_modules())
def test_the_runtime_needs_the_base_install_only(name):
    """Follows imports of our own modules, so that a heavy one can't come in through a third file."""
    reached, todo = set(), [name]
    while todo:
        module = todo.pop()
        for other in imports_of(module):
            if other.split(".")[0] != "lilliput":
                package = other.split(".")[0]
                known = package in BASE or package in sys.stdlib_module_names or package in OPTIONAL.get(module, ())
                known = known or (module in TASKS and package in EVALUATION)
                assert known, f"{name} reaches {other} through {module}"
            elif other not in reached:
                reached.add(other)
                todo.append(other)


@pytest.mark.parametrize(
    "module", ["lilliput", "lilliput.cli", "lilliput.runtime", "lilliput.doctor", "lilliput.bundle", *TASKS]
)
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, json, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT.parent)
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_import_evaluation_libraries_inside_functions_only(name):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    inside = {id(inner) for node in ast.walk(TREES[name]) if isinstance(node, kinds) for inner in ast.walk(node)}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in inside:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert EVALUATION.isdisjoint(one.split(".")[0] for one in names)


def test_optional_imports_are_guarded():
    for name, packages in OPTIONAL.items():
        guarded = set()
        for node in ast.walk(TREES[name]):
            handlers = [ast.unparse(handler.type) for handler in getattr(node, "handlers", []) if handler.type]
            if isinstance(node, ast.Try) and "ImportError" in handlers:
                guarded |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                guarded |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert id(node) in guarded or packages.isdisjoint(one.split(".")[0] for one in names)


def test_importing_lilliput_is_nearly_free():
    code = "import sys, lilliput; print('numpy' in sys.modules, 'onnxruntime' in sys.modules, 'rich' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert result.stdout.split() == ["False"] * 3


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_well_named(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines; split it"
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, "name the file after what it holds"


def public_definitions(tree):
    """Public functions and classes of a module, and public methods of its public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (item for item in node.body if isinstance(item, kinds) and not item.name.startswith("_"))


def is_override(node):
    """A method that fills in one that a base class documents."""
    names = [getattr(decorator, "id", getattr(decorator, "attr", "")) for decorator in node.decorator_list]
    return "override" in names


@pytest.mark.parametrize("name", SOURCES)
def test_public_things_have_docstrings(name):
    tree = TREES[name]
    assert ast.get_docstring(tree), f"{name} has no module docstring"
    silent = [node.name for node in public_definitions(tree) if not ast.get_docstring(node) and not is_override(node)]
    assert not silent, f"{name}: no docstring on {silent}"


@pytest.mark.parametrize("name", SOURCES)
def test_no_pickle_and_no_remote_code(name):
    source = SOURCES[name].read_text(encoding="utf-8")
    assert not {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} & imports_of(name)
    assert "trust_remote_code=True" not in source
    assert "weights_only=False" not in source


ENCODER_ATTRIBUTES = {"intermediate", "word_embeddings", "token_type_embeddings", "position_embeddings"}
KNOWING = ("lilliput.encoder", "lilliput.architectures")
"""What names parts of models: those of others, and our own."""


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith(KNOWING)])
def test_only_the_encoder_file_knows_attribute_paths(name):
    known = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
    assert not known & ENCODER_ATTRIBUTES, f"{name} reaches into a model: use lilliput.encoder"


def test_the_architecture_page_names_files_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w.]+\.(?:py|html|json|txt|toml)\b", page.split("## On disk")[0]))
    there = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")} | {"pyproject.toml"}
    there |= {path.name for path in (ROOT / "tests").iterdir()} | {"report.json", "report.html"}
    assert named <= there, sorted(named - there)
