"""Many texts in one object are the sequence, and the set, that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.claims import Names
from reconciler.model.texts import Texts, joined

TEXT = st.text("abz019-/", max_size=9)
TEXTS = st.lists(TEXT, max_size=12)


@given(TEXTS)
def test_they_are_read_back_one_by_one_and_all_at_once(texts: list[str]) -> None:
    made = Texts(texts)
    assert list(made) == [made[row] for row in range(len(made))] == texts
    assert [made[row - len(texts)] for row in range(len(texts))] == texts
    assert list(Texts.of_bytes(bytes(made))) == texts


@given(TEXTS, st.data())
def test_rows_are_taken_in_any_order(texts: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, max(len(texts) - 1, 0)), max_size=9 if texts else 0))
    taken = Texts(texts).take(np.array(rows, np.intp))
    assert list(taken) == [texts[row] for row in rows]


@given(TEXTS, TEXTS)
def test_joined_ones_follow_each_other(one: list[str], other: list[str]) -> None:
    assert list(joined([Texts(one), Texts(), Texts(other)])) == one + other


@given(TEXTS)
def test_their_order_is_that_of_python(texts: list[str]) -> None:
    order = np.argsort(Texts(texts).fixed(), kind="stable").tolist()
    assert order == sorted(range(len(texts)), key=texts.__getitem__)


@pytest.mark.parametrize("text", ["a\nb", "é"])
def test_texts_of_more_lines_or_other_alphabets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|ascii"):
        Texts([text])


NAMES = st.sets(st.text("abz019-/", min_size=1, max_size=5), max_size=20)


@given(NAMES, NAMES, NAMES)
def test_names_are_a_set_that_is_changed_by_parts(
    before: set[str], gone: set[str], came: set[str]
) -> None:
    names = Names(before)
    after = (before - gone) | came
    changed = names.replaced(gone, came)
    assert names == before
    assert changed == after == Names(after)
    assert len(changed) == len(after)
    assert set(changed) == after
    assert all((name in changed) == (name in after) for name in before | gone | came)
    assert names - changed == before - after
    assert changed - names == after - before
    assert changed - frozenset(gone) == after - gone
