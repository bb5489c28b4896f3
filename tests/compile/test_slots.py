"""Slots stay with their owners, and a slot just given up is the last to be given again."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.compile.slots import assign_slots

OWNERS = st.lists(st.sampled_from("abcdefgh"), unique=True)


def test_new_owners_get_the_lowest_free_slots_in_order() -> None:
    assert assign_slots(["c", "a", "b"], {}, 8) == {"c": 0, "a": 1, "b": 2}
    assert assign_slots(["a", "n", "b", "m"], {"a": 1, "b": 3}, 8) == {
        "a": 1,
        "n": 0,
        "b": 3,
        "m": 2,
    }


def test_a_slot_given_up_is_taken_last() -> None:
    assert assign_slots(["n"], {"gone": 0}, 3) == {"n": 1}
    assert assign_slots(["n", "m", "o"], {"gone": 0}, 3) == {"n": 1, "m": 2, "o": 0}


def test_owners_beyond_the_limit_get_none() -> None:
    assert assign_slots(["a", "b", "c"], {}, 2) == {"a": 0, "b": 1}
    assert assign_slots(["a"], {"a": 5}, 2) == {"a": 0}


@given(OWNERS, st.lists(OWNERS, max_size=4), st.integers(1, 8))
def test_slots_are_distinct_kept_and_within_the_limit(
    first: list[str], later: list[list[str]], limit: int
) -> None:
    slots = assign_slots(first, {}, limit)
    for wanted in later:
        before, slots = slots, assign_slots(wanted, slots, limit)
        assert len(set(slots.values())) == len(slots) == min(len(wanted), limit)
        assert all(0 <= slot < limit for slot in slots.values())
        kept = before.keys() & set(wanted)
        assert {each: slots[each] for each in kept} == {each: before[each] for each in kept}
    assert assign_slots(list(slots), slots, limit) == slots
