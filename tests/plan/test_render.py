"""How a plan is shown: summary first, deletions first, one greppable last line, bounded."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from reconciler.abi.generated import VniMark
from reconciler.compile.bind import Waiting
from reconciler.compile.state import HostState, Interface, InterfaceKind, Link, Program
from reconciler.plan import render
from reconciler.plan.codes import GUARDS
from reconciler.plan.guards import Context
from reconciler.plan.plan import Plan, make_plan
from tests.plan.states import endpoints, state, table

WAITS = (Waiting("Endpoint shop/web-1", "interface tap0"),)


def named(rows: HostState, origin: str = "Endpoint shop/web") -> HostState:
    """The same state with every endpoint row of one origin."""
    known = rows.tables["endpoints"]
    known = replace(known, origins=np.zeros(len(known), np.int32))
    return replace(rows.with_tables({"endpoints": known}), origins=(origin,))


def mixed() -> Plan:
    """One of each change, waiting, drift."""
    live = state(endpoints(3), programs=(Program("access", bytes(12)),))
    last = named(live)
    desired = state(
        endpoints(2, first=1, identity=8),
        programs=(Program("transit", bytes(12)),),
        links=(Link("eth0", "transit"),),
        interfaces=(Interface("rv1", "shop/web-1", InterfaceKind.VETH, 1, 2),),
    )
    return make_plan(desired, live, WAITS, Context(commit="ab" * 20, last=last))


def test_the_last_line_has_the_counts() -> None:
    last = "Plan: 3 to add, 2 to change, 2 to delete"
    assert render.text(mixed()).rstrip("\n").split("\n")[-1] == last
    assert render.markdown(mixed()).rstrip("\n").split("\n")[-1] == last


def test_deletions_come_first_and_creations_last() -> None:
    signs = re.findall(r"^([-~+]) ", render.text(mixed()), re.MULTILINE)
    assert signs == ["-", "-", "~", "~", "+", "+", "+"]


def test_the_summary_comes_before_the_changes() -> None:
    text = render.text(mixed())
    assert text.index("table endpoints  0 to add, 2 to change, 1 to delete") < text.index("\n- ")


def test_a_row_is_shown_with_what_changes_its_manifest_and_its_cause() -> None:
    wanted = named(state(endpoints(1, identity=8)))
    live = state(endpoints(1))
    assert "~ endpoints vni=1 address=10.0.0.0: identity 7 -> 8  (Endpoint shop/web)\n" in (
        render.text(make_plan(wanted, live))
    )
    assert "identity 7 -> 8  (Endpoint shop/web, drift)\n" in (
        render.text(make_plan(wanted, live, context=Context(last=wanted)))
    )


def test_where_an_endpoint_was_is_shown_with_its_vni_and_a_word() -> None:
    rows = state(endpoints(1, vni=1 | VniMark.FORMER))
    plan = make_plan(named(rows), state())
    assert "+ endpoints vni=1 address=10.0.0.0 former=True: " in render.text(plan)
    (change,) = render.as_json(plan)["changes"]
    assert change["key"] == {"vni": 1, "address": "10.0.0.0", "former": True}


def test_the_digest_column_is_shown_only_where_nothing_else_differs() -> None:
    text = render.text(make_plan(state(endpoints(1, check=1)), state(endpoints(1, check=2))))
    assert ": check 2 -> 1" in text
    both = state(endpoints(1, check=1, identity=8)), state(endpoints(1, check=2))
    assert "check" not in render.text(make_plan(*both))


def test_a_no_op_says_so() -> None:
    text = render.text(make_plan(state(), state()))
    assert "No changes. " in text
    assert text.endswith("Plan: 0 to add, 0 to change, 0 to delete\n")
    assert "No changes. " in render.markdown(make_plan(state(), state()))


def test_what_waits_is_named_with_its_fact() -> None:
    text = render.text(make_plan(state(), state(), WAITS))
    assert "  Endpoint shop/web-1: interface tap0\n" in text
    assert "1 waiting for a fact" in text


def test_a_refusal_shows_its_code_its_figures_and_the_remedy() -> None:
    plan = make_plan(state(), state(endpoints(20)))
    for made in (render.text(plan), render.markdown(plan)):
        assert "GRD1004: deletes 20 of 20 rows" in made
        assert f"reconciler apply --force {plan.digest}" in made


def test_a_refusal_that_cannot_be_forced_does_not_offer_it() -> None:
    plan = make_plan(state(table("uplinks", [({"index": 4}, {"ifindex": 1})])), state())
    assert "--force" not in render.text(plan)
    assert "reconciler explain GRD1006" in render.text(plan)


def test_a_forced_plan_says_what_was_overridden() -> None:
    digest = make_plan(state(), state(endpoints(20))).digest
    plan = make_plan(state(), state(endpoints(20)), context=Context(forced=digest))
    assert "Forced:\n  GRD1004: " in render.text(plan)


def test_a_long_table_is_cut_and_says_how_much_is_left_out() -> None:
    plan = make_plan(state(endpoints(1000)), state())
    text = render.text(plan)
    assert text.count("\n+ endpoints vni") == render.SHOWN
    assert f"\n+ endpoints: {1000 - render.SHOWN} more\n" in text
    assert render.text(plan, None).count("\n+ endpoints vni") == 1000


@pytest.mark.parametrize("rows", [1, 100, 5000])
@pytest.mark.parametrize("origin", ["Endpoint shop/web", "Endpoint " + "x" * 30_000, "\U0001f600"])
def test_a_comment_stays_within_the_limit_of_the_forge(rows: int, origin: str) -> None:
    plan = make_plan(named(state(endpoints(rows)), origin), state(), WAITS * rows)
    comment = render.markdown(plan)
    assert len(comment) < 65_536
    assert len(comment.encode()) < 65_536
    assert comment.count("<details>") == comment.count("</details>")
    assert comment.endswith(f"Plan: {rows} to add, 0 to change, 0 to delete\n")


def test_a_comment_that_no_cutting_of_rows_makes_short_is_cut_at_a_line() -> None:
    waits = tuple(Waiting("Endpoint shop/" + "x" * 250, f"fact {each}") for each in range(100))
    long = tuple(replace(each, fact="y" * 70_000) for each in waits)
    comment = render.markdown(make_plan(state(endpoints(1)), state(), long))
    assert len(comment) < 65_536
    assert comment.endswith("Plan: 1 to add, 0 to change, 0 to delete\n")


def test_text_from_a_manifest_cannot_steer_a_terminal_or_end_a_code_block() -> None:
    end = Interface("rv1", "shop/a", InterfaceKind.VETH, 1, 1, netns="/a\x1b[2J\n```\n# b")
    plan = make_plan(state(interfaces=(end,)), state())
    assert "\x1b" not in render.text(plan)
    inside = render.markdown(plan).split("<details>")[1]
    assert "\n# b" not in inside
    assert "\n````diff\n" in inside


def test_json_has_a_reason_for_every_change() -> None:
    made = json.loads(json.dumps(render.as_json(mixed())))
    assert made["summary"] == {"add": 3, "change": 2, "delete": 2, "pending": 7, "drift": 0}
    assert len(made["changes"]) == 7
    assert {each["cause"] for each in made["changes"]} == {"pending"}
    deleted = next(each for each in made["changes"] if each["change"] == "delete")
    assert deleted["what"] == "endpoints"
    assert deleted["key"] == {"vni": 1, "address": "10.0.0.0"}
    assert deleted["origin"] == "Endpoint shop/web"
    assert "new" not in deleted


def test_json_lists_changes_in_the_order_in_which_they_are_written() -> None:
    kinds = [each["what"] for each in render.as_json(mixed())["changes"]]
    assert kinds == [
        *("interface", "endpoints", "endpoints", "program", "link"),
        *("endpoints", "program"),
    ]


def test_json_of_a_refused_plan_has_codes_and_figures() -> None:
    made = render.as_json(make_plan(state(), state(endpoints(20))))
    assert made["refused"] is True
    (refusal,) = made["refusals"]
    assert refusal["title"] == GUARDS["GRD1004"].title
    assert refusal["figures"] == {"deleted": 20, "before": 20}


def test_output_is_the_same_for_equal_plans() -> None:
    one, two = mixed(), mixed()
    assert render.text(one) == render.text(two)
    assert render.as_json(one) == render.as_json(two)
