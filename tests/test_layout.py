"""The shape of the project: what may import what, how long a file may be, what a text may name."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "boringfusion_lite"
MODULES = sorted(  # dotted, those of the three folders for the pages with their folder's name
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if not path.stem.startswith("__")
)

# In the order the data flows. A module may import from its own row and from the rows above.
ROWS = [
    ["runtime", "sources", "fetching", "download"],
    ["bpe", "tokenizer"],
    ["attention", "blocks"],
    ["clip"],
    ["prompts"],
    ["betas", "schedule", "ideal", "objectives"],
    ["unet"],
    ["guidance", "remembering"],
    ["moment", "onestep", "multistep", "samplers"],
    ["vae", "preview"],
    ["image_to_image", "pipeline", "interpolation", "tiling", "merging"],
    ["sharing", "compilation", "lora"],
    ["weight_files", "families", "fitting", "names", "settings"],
    ["original_names", "original_settings", "checkpoint", "saving"],
    ["lora_files", "textual_inversion"],
    ["shapes", "things", "surroundings", "styles", "drawing"],
    ["captions", "layout", "scenes", "dataset", "closeups"],
    ["processes", "weights", "discriminator", "feature_loss", "recipes", "joint", "sharpening"],
    ["training", "finished", "train", "train_all", "teaching"],
    ["judge", "scoring", "evaluate"],
    ["features", "frechet", "manifold", "clip_score", "memorisation", "resampling", "sweeps"],
    ["probe", "timeline", "anatomy", "attention_maps"],
    ["plots"],
    ["widgets"],
    ["checks"],
]
ROW = {module: number for number, row in enumerate(ROWS) for module in row}
SLOW_IMPORTS = {"transformers", "diffusers", "accelerate"}  # only inside the function that needs it
HOSTS = re.compile(
    r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|anaconda[.](org|com)/|npmjs[.]org"
)
MACHINE = re.compile(r"(?<![\w.+])/(home|root|Users|work|opt|mnt|workspace)/\w|[A-Z]:\\+Users\\")


def imports(tree: ast.AST, folder: str = "") -> set[str]:
    """Dotted names of everything imported in a syntax tree, our own modules with a leading dot.

    folder: the one that the module is in, to which a single dot leads.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = "." * node.level + (node.module or "")
            names |= {whole} if node.module else {f".{alias.name}" for alias in node.names}
    names = {re.sub(r"^boringfusion_lite\.", ".", name) for name in names}
    if folder:  # two dots lead to the package, one to the folder
        names = {re.sub(r"^\.(?!\.)", f".{folder}.", name) for name in names}
    return {re.sub(r"^\.+", ".", name) for name in names}


def folder_of(module: str) -> str:
    return module.rpartition(".")[0]


def top_of(module: str) -> str:
    return module.split(".")[0]


def parse(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text("utf-8"))


def path_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


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
    own = ROW.get(top_of(module))
    assert own is not None, f"Give {module} its row in ROWS: where in the flow does it belong?"
    for name in imports(parse(module), folder_of(module)):
        if name.startswith("."):
            other = name.split(".")[1]
            assert ROW.get(other, 0) <= own, f"{other}, imported here, comes after it"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_have_one_home(module):
    used = {name.split(".")[0] for name in imports(parse(module))}
    assert "matplotlib" not in used or top_of(module) in ("plots", "widgets")
    assert "ipywidgets" not in used or top_of(module) == "widgets"
    first = [node for node in parse(module).body if isinstance(node, ast.Import | ast.ImportFrom)]
    slow = {name.split(".")[0] for node in first for name in imports(node)} & SLOW_IMPORTS
    assert not slow, "import it in the function that needs it: it takes a second"


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_read_in_one_sitting(module):
    source = path_of(module).read_text("utf-8")
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


def test_no_two_test_files_have_one_name():
    """pytest imports them by their bare names."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
