"""The shape of the project: what may import what, how long a file may be, what a text may name."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "boringfusion_lite"
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__"))

# In the order the data flows. A module may import from its own row and from the rows above.
ROWS = [
    ["runtime"],
    ["tokenizer"],
    ["attention", "blocks"],
    ["clip"],
    ["prompts"],
    ["schedule"],
    ["unet"],
    ["guidance"],
    ["samplers"],
    ["vae"],
    ["pipeline"],
    ["names", "settings", "checkpoint", "saving"],
    ["shapes", "things", "surroundings", "styles", "drawing"],
    ["captions", "layout", "scenes", "dataset"],
    ["weights", "recipes", "training", "train", "judge", "scoring", "evaluate"],
    ["probe"],
    ["plots", "widgets"],
    ["checks"],
]
ROW = {module: number for number, row in enumerate(ROWS) for module in row}
SLOW_IMPORTS = {"transformers", "diffusers", "accelerate"}  # only inside the function that needs it
HOSTS = re.compile(
    r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|anaconda[.](org|com)/|npmjs[.]org"
)
MACHINE = re.compile(r"(?<![\w.+])/(home|root|Users|work|opt|mnt|workspace)/\w|[A-Z]:\\+Users\\")


def imports(tree: ast.AST) -> set[str]:
    """Dotted names of everything imported in a syntax tree, our own modules with a leading dot."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = "." * node.level + (node.module or "")
            names |= {whole} if node.module else {f".{alias.name}" for alias in node.names}
    return {re.sub(r"^boringfusion_lite\.", ".", name) for name in names}


def parse(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))


def project_texts() -> list[Path]:
    """Every text file that git tracks or would track."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = {ROOT / name for name in names.stdout.splitlines()}
    return sorted(path for path in paths if path.is_file() and b"\0" not in path.read_bytes())


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_upwards(module):
    assert module in ROW, f"Give {module}.py its row in ROWS: where in the flow does it belong?"
    for name in imports(parse(module)):
        if name.startswith("."):
            other = name.split(".")[1]
            assert ROW.get(other, 0) <= ROW[module], f"{other}, imported here, comes after it"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_have_one_home(module):
    used = {name.split(".")[0] for name in imports(parse(module))}
    assert "matplotlib" not in used or module == "plots"
    assert "ipywidgets" not in used or module == "widgets"
    first = [node for node in parse(module).body if isinstance(node, ast.Import | ast.ImportFrom)]
    slow = {name.split(".")[0] for node in first for name in imports(node)} & SLOW_IMPORTS
    assert not slow, "import it in the function that needs it: it takes a second"


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_read_in_one_sitting(module):
    source = (PACKAGE / f"{module}.py").read_text("utf-8")
    lines = source.count("\n")
    assert lines <= 250
    assert ast.get_docstring(ast.parse(source)), "say in a docstring what the module is for"
    assert not re.search("util|helper|common|misc", module), "name it after what it does"


def test_texts_name_no_package_host_and_no_machine():
    found = []
    for path in project_texts():
        text = path.read_text("utf-8", errors="replace")
        hits = [*HOSTS.finditer(text), *MACHINE.finditer(text)]
        found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in hits]
    assert not found, found
