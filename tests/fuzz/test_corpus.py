"""What fuzzing has found is tried again in every run of the suite, without a fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.rule("ENV-12")
@pytest.mark.parametrize(("name", "path"), FILES, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_every_input_is_survived(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_corpus_and_words(name: str) -> None:
    assert len([path for target, path in FILES if target == name]) >= 10
    assert (CORPUS / f"{name}.dict").read_text(encoding="utf-8").count("\n") >= 10
