"""The repository as a whole: one version, documented modules, and nothing in it that belongs to somebody's machine."""

import ast
import re
import stat
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ["clawproto", *(f"drivers/{path.parent.name}" for path in sorted((ROOT / "drivers").glob("*/__init__.py")))]
MODULES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]

# /home/name and /Users/name, Windows profiles, and root's own directory.
HOME_PATH = re.compile(r"/(?:home|Users)/[A-Za-z][\w.-]*|[A-Za-z]:\\Users\\|(?<![\w.])/root/")


def tracked_files() -> list[Path]:
    """The files of the repository; outside of a clone, those that a clone would have."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        files = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        directories = ("clawproto", "drivers", "tests", "docs", "tools", "benchmarks")
        files = [path for directory in directories for path in (ROOT / directory).rglob("*") if path.is_file()]
    return [file for file in files if file.is_file() and "__pycache__" not in file.parts]


def texts() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for file in tracked_files():
        try:
            found.append((file, file.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    assert len(found) > 50
    return found


def test_no_path_of_a_home_directory() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for file, text in texts()
        for match in HOME_PATH.finditer(text)
        if file != Path(__file__)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("/home/alice/x", True),
        ("/Users/alice", True),
        (r"C:\Users\alice", True),
        ("cat /root/.pyenv", True),
        ("https://example.org/home", False),
        ("repo/root/x", False),
        ("/v1/users/me", False),
    ],
)
def test_what_counts_as_a_home_directory(text: str, is_path: bool) -> None:
    assert (HOME_PATH.search(text) is not None) is is_path


def test_the_lock_names_no_registry() -> None:
    text = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    assert "==" in text
    assert not re.search(r"https?://|^--(?:extra-)?index-url|^--find-links|file:", text, re.MULTILINE)


def test_every_file_ends_with_one_newline_and_has_no_tabs_or_carriage_returns() -> None:
    found: list[str] = []
    for file, text in texts():
        if file.suffix not in {".py", ".md", ".toml"}:
            continue
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            found.append(f"{file.relative_to(ROOT)}: end of file")
        if "\r" in text or ("\t" in text and file.suffix == ".py"):
            found.append(f"{file.relative_to(ROOT)}: tab or carriage return")
    assert found == []


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_module_has_a_docstring(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring is not None
    assert docstring.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_every_package_is_in_the_wheel() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wheel = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(wheel) == sorted(PACKAGES)


def test_the_version_stands_in_one_place() -> None:
    version = PROJECT["version"]
    pattern = re.compile(rf"""__version__\s*=\s*["']|["']{re.escape(version)}["']""")
    found = [f"{file.relative_to(ROOT)}" for file in MODULES if pattern.search(file.read_text(encoding="utf-8"))]
    assert found == []


def test_the_installed_version_is_this_one() -> None:
    try:
        installed = metadata.version("clawproto")
    except metadata.PackageNotFoundError:
        pytest.skip("run from a checkout that is not installed")
    assert installed == PROJECT["version"]


def test_the_changelog_has_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)
    assert text.index("## [Unreleased]") < text.index(f"## [{PROJECT['version']}]")


def test_the_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.read_text(encoding="utf-8").startswith("#!")
    assert script.stat().st_mode & stat.S_IXUSR


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_relative_links_of_the_documents_lead_somewhere() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {target}"
        for file, text in texts()
        if file.suffix == ".md"
        for target in LINK.findall(text)
        if "://" not in target and not target.startswith("mailto:") and not (file.parent / target).exists()
    ]
    assert found == []
