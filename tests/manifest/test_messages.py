"""What authors read: every file of mistakes/ against the messages beside it."""

from pathlib import Path

import pytest

from reconciler.manifest.codes import CODES
from tests.manifest.files import problems

MISTAKES = sorted(
    path for path in (Path(__file__).parent / "mistakes").iterdir() if path.suffix != ".txt"
)


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.name)
def test_mistakes_are_reported_in_these_words(path: Path) -> None:
    expected = path.with_name(f"{path.name}.txt").read_text().splitlines()
    assert problems(path.read_bytes(), path.name) == expected


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.name)
def test_every_problem_has_a_place_a_known_code_and_a_remedy(path: Path) -> None:
    for line in problems(path.read_bytes(), path.name):
        place, _, rest = line.partition(": ")
        name, row, column = place.split(":")
        assert name == path.name
        assert int(row) > 0 < int(column)
        assert rest.split()[0] in CODES
        assert rest.split()[1] in ("error:", "warning:")
        what, _, remedy = rest.partition("; ")
        assert what
        assert remedy


def test_five_mistakes_in_a_file_give_five_problems() -> None:
    assert len(problems((MISTAKES[0].parent / "five.yaml").read_bytes())) == 5


def test_every_code_is_explained() -> None:
    for name, code in CODES.items():
        assert name[:-4].isalpha(), name
        assert name[-4:].isdecimal(), name
        assert code.title, name
        assert code.explanation.endswith("."), name
        assert code.remedy.endswith("."), name
