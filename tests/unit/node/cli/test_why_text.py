"""What `p2pnode why` prints and the API answers, from explanations of real replicas."""

from rich.console import Console

from consensus.identifiers import Slot
from node.api.why import why_view
from node.cli.why_text import show_why, show_why_of_all
from node.replies.why import WhyReply
from tests.support.consensus import BLOCK_A, BLOCK_B, Scenario
from tests.support.explaining import explained, name_of, stalled_view_change, status_of


def reply_of(scenario: Scenario, *silent: int) -> WhyReply:
    return why_view("mine", explained(scenario, silent=silent), lambda address: name_of(scenario, address))


def shown(reply: WhyReply) -> str:
    console = Console(width=200, record=True, quiet=False, force_terminal=False)
    with console.capture() as captured:
        show_why(console, reply)
    return captured.get()


def test_a_stall_shows_who_is_missing_and_the_arithmetic() -> None:
    text = shown(reply_of(stalled_view_change(), 2, 3))
    assert text.startswith("mine: too_few_members\nOnly 2 of 4 members can take part and a decision needs 3: home-2 ")
    assert "N = 4 members, F = 1 may fail, Q = 3 decide; 2 can be reached" in text
    assert "slot 7 has 1 of the 3 VIEW-CHANGEs that it needs, missing: home-0, home-2 and home-3" in text
    assert "once 3 members have reached slot 7" in text
    assert "changing_view: asked for slot 7 (attempt 1)" in text
    assert text.count("up, but silent") == 2
    assert "home-1 (2 more needed)" in text


def test_notices_stand_below_the_sentence_for_one_node_and_for_all() -> None:
    notices = ["Two processes use the key of [home-3]: one must stop.", "The link to home-2 is down: its certificate"]
    reply = reply_of(stalled_view_change(), 2, 3).model_copy(update={"notices": notices})
    assert shown(reply).splitlines()[2:4] == notices
    console = Console(width=200, record=True, force_terminal=False)
    with console.capture() as captured:
        show_why_of_all(console, [("home-0", 7, reply)])
    for words in ("Two processes use the key of", "The link to home-2 is down"):
        assert words in captured.get()


def test_votes_and_commits_are_listed_by_slot_and_block() -> None:
    scenario = Scenario(slot=4)
    scenario.prepare_at(4)
    scenario.receive(scenario.members.commit(3, 4), scenario.members.vote(3, 5, BLOCK_B))
    text = shown(reply_of(scenario))
    first, second = BLOCK_A.hex()[:8], BLOCK_B.hex()[:8]
    assert f"{first}: home-0, home-1, home-2, home-3 (a quorum)" in text
    assert f"{first}: home-1, home-3 (1 more needed)" in text
    assert f"{second}: home-3 (2 more needed)" in text
    assert f"prepared: voted for {first} at slot 4, committed to {first} at slot 4" in text
    assert "slot 6 in 2.0 s" in text


def test_a_body_and_a_clock_that_is_held_back_are_shown() -> None:
    scenario = Scenario(slot=3_600)
    for sender in (0, 2, 3):
        scenario.receive(status_of(1, by=sender, slot=10), sender=sender)
    scenario.receive(*(scenario.members.vote(member, 8) for member in (0, 2, 3)))
    text = shown(reply_of(scenario))
    assert "10 (held back by the members' clocks; own clock: 3,600), led by home-2" in text
    assert f"{BLOCK_A.hex()[:8]}, asked 0.0 s ago" in text


def test_a_slot_that_passes_unused_is_shown_with_whose_it_is_and_why() -> None:
    scenario = Scenario(slot=6, suspended={2})
    scenario.work()
    text = shown(reply_of(scenario))
    assert "6, passes unused, home-2 is suspended, 1000 ms long" in text
    assert text.count("up; suspended, leads nothing") == 1
    assert "slot 7 waits for the proposal of its leader, home-3" in text
    assert "leads nothing" not in shown(reply_of(Scenario(slot=6, suspended={1, 2})))


def test_the_reply_survives_json_with_every_field() -> None:
    for scenario in (Scenario(), stalled_view_change(), Scenario(suspended={0})):
        reply = reply_of(scenario, 3)
        assert WhyReply.model_validate_json(reply.model_dump_json()) == reply
        assert [member.is_own for member in reply.members] == [False, True, False, False]
        assert [member.is_reachable for member in reply.members] == [True, True, True, False]


def test_all_nodes_of_a_testnet_have_a_row_whether_they_answer_or_not() -> None:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        show_why_of_all(console, [("node1", 77, reply_of(Scenario())), ("node2", 78, None), ("node3", None, None)])
    text = captured.get()
    assert "nothing_to_do" in text
    assert "Nothing waits for a decision at height 1." in text
    assert text.count("does not answer") == 2
    assert "stopped" in text


def test_who_collects_and_the_second_leader_are_shown_where_clusters_are_drawn() -> None:
    scenario = Scenario(members=11, own=0, slot=5, cluster_size=4)
    reply = reply_of(scenario)
    assert reply.collecting is not None
    leaders = scenario.memberships.leaders
    slot = Slot(reply.present_slot)
    second = name_of(scenario, leaders.whose(slot, is_justified=True))
    text = shown(reply)
    assert f"led by {name_of(scenario, leaders.whose(slot))} (after a view change: {second})" in text
    assert f"│ collecting   │ 4 members are drawn for slot {slot}: " in text
    assert "collecting" not in shown(reply_of(Scenario()))
