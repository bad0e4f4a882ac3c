"""A ceremony from end to end: load, `kill -9` in the middle of it, the loss, standing still, the commands, and on."""

import json
import random
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from consensus.ceremony import complete_statements, complete_statements_needed
from consensus.era_plans import Plan
from consensus.identifiers import Digest
from consensus.quorum import fault_bound, quorum
from contracts.transactions import Action, sign_transaction, transaction_digest
from node.home.era_files import JoinFile, PlanFile, read_record
from node.home.folder import Home
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.ceremonies.cases import Case
from tests.ceremonies.deaf import deaf_file
from tests.ceremonies.homes import burn_down, has_records, height_of, lose_records, lose_sign_state
from tests.ceremonies.processes import Arguments, Commands, Daemons
from tests.ceremonies.table import Row
from tests.endurance.pack import LAST_WORDS, REPLY_WAIT_S, Load, Replied
from tests.support.ceremony_commands import authority
from tests.support.contracts import FIRST_INTERVAL_MS, Community, signed_reading, signed_trade
from tests.support.ledger import HOUR_MS, ChainBuilder
from tests.support.long_chain import community_of, decide_beforehand, make_street
from tests.support.ports import free_port
from tests.support.testnet import VALID_UNTIL_HEIGHT, Node, Street, wait_until

ERA: Final = 1
TRADED_WH: Final = 100
BLOCKS_BEFOREHAND: Final = 5
"""Of transfers, behind an hour of trading: nobody ran for them."""

KILLS_MAX: Final = 8
"""How often all are killed until enough of them had signed something that is undecided: as a rule once."""

REPLIES_MIN: Final = 20
"""Transfers that clients were told are decided, before each kill."""

SIGNED_DEADLINE_S: Final = 4.0
KILL_PAUSE_S_MAX: Final = 0.1
STANDING_WAIT_S: Final = 4.0
"""16 slots in which nothing may be decided though work waits."""

DECIDED_DEADLINE_S: Final = 60.0
LOSS_WORD: Final = "replace"

Tell = Callable[[str], None]


class CeremonyRun:
    """The street of one row, step by step."""

    def __init__(self, letter: str, case: Case, members: int, directory: Path, daemons: Daemons, tell: Tell) -> None:
        self.case: Final = case
        self.members: Final = members
        self.row: Final = Row(
            case=letter,
            members=members,
            lost=case.lost,
            late=case.late(members),
            gone=members if case.is_gone else None,
            replaced=members if case.is_replaced else None,
        )
        self.street: Street = make_street(directory / "street", nodes=members)
        self.commands: Final = Commands(directory / "commands")
        self.replied: list[Replied] = []
        self.after: list[Digest] = []
        """Transactions decided in the new era."""
        self.burnt: Home | None = None
        self.plan_file: Final = directory / "era.plan"
        self._directory = directory
        self._daemons = daemons
        self._tell = tell
        self._choice = random.Random(f"{letter} {members}")
        self._community: Community = community_of(self.street)

    # --- who

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.street.nodes

    @property
    def stating(self) -> list[Node]:
        """Those whose homes are there when statements are made."""
        absent = {self.case.burnt(self.members), self.case.late(self.members)}
        return [node for number, node in enumerate(self.nodes, 1) if number not in absent]

    @property
    def going_on(self) -> list[Node]:
        """Those who take part in the new era at once."""
        return [*self.stating, *([self.nodes[-1]] if self.case.is_replaced else [])]

    @property
    def participants(self) -> list[Node]:
        """Those who take part in the end."""
        return [*self.going_on, *([self.nodes[-1]] if self.case.is_disordered else [])]

    # --- before

    def decide_under_load(self) -> None:
        """Has the members decide, and kills them in the middle of it, so that most have signed what is undecided."""
        self._tell("load")
        decide_beforehand(self.street, _beforehand, for_nodes=self.members)
        self._daemons.start(*self.nodes)
        wait_until(lambda: all(node.is_ready() for node in self.nodes), "all ready")
        self._publish_readings()
        if self.case.burnt(self.members) or self.case.late(self.members):
            self._decide_at_the_last_only()
        else:
            self._kill_until_most_have_signed()
        self.row.height_before = max(height_of(node) for node in self.nodes)
        self.row.told = len(self.replied)

    def _publish_readings(self) -> None:
        """Has every member measure the second hour; what member 1 sells of it is traded in the new era."""
        raws = [
            self._signed(
                node,
                signed_reading(
                    self._community,
                    index,
                    3 * TRADED_WH if index == 0 else -2 * TRADED_WH,
                    interval_start_ms=FIRST_INTERVAL_MS + HOUR_MS,
                ),
            )
            for index, node in enumerate(self.nodes)
        ]
        for node, raw in zip(self.nodes, raws, strict=True):
            node.submit(raw)
        for raw in raws:
            _executed(self.nodes[0], raw)

    def _decide_at_the_last_only(self) -> None:
        """Has the member that burns down or comes late decide a block, and tell a client so, of which all others hold
        only that it may have been decided; then all are killed.
        """
        *others, last = self.nodes
        with Load(self.street, self._choice.randrange(2**32)) as load:
            wait_until(lambda: len(load.replied) >= REPLIES_MIN, "the clients are answered")
        height = self.street.at_one_tip()[0]["height"]
        for node in others:
            deaf_file(node.home).touch()
        document = _executed(last, self._transfer(last, others[0]))
        assert document["height"] == height + 1, document
        load.remember(last, document)
        self._daemons.kill(*self.nodes)
        for node in others:
            deaf_file(node.home).unlink()
        assert [height_of(node) for node in self.nodes] == [height] * len(others) + [height + 1]
        self.replied = load.replied

    def _kill_until_most_have_signed(self) -> None:
        for _ in range(KILLS_MAX):
            if self._kill_in_the_middle():
                return
            self._daemons.start(*self.nodes)
            wait_until(lambda: all(node.is_ready() for node in self.nodes), "all ready")
        raise AssertionError("never enough of them had signed something undecided")

    def _kill_in_the_middle(self) -> bool:
        """Kills F + 1, one after the other; the others, of whom a quorum lacks one, sign on what they cannot decide.

        Returns:
            Whether more signed something undecided than a quorum can do without. All are dead then.
        """
        with Load(self.street, self._choice.randrange(2**32)) as load:
            wait_until(lambda: len(load.replied) >= REPLIES_MIN, "the clients are answered")
            dying = self._choice.sample(self.nodes, fault_bound(self.members) + 1)
            left = [node for node in self.nodes if node not in dying]
            for node in dying:
                time.sleep(self._choice.random() * KILL_PAUSE_S_MAX)  # the moment is what is random
                self._daemons.kill(node)
            wanted = self.members - quorum(self.members) + 1
            try:
                wait_until(lambda: sum(map(_has_voted, left)) >= wanted, "votes", deadline_s=SIGNED_DEADLINE_S)
            except AssertionError:
                self._tell("nobody voted: once more")
            self._daemons.kill(*left)
        self.replied += load.replied
        return sum(map(has_records, left)) >= wanted

    # --- the loss

    def lose(self) -> None:
        """Takes from the dead homes what the case says."""
        if self.case.records:
            for node in self.nodes:
                lose_records(node)
        for number in self.case.forgetful(self.members):
            lose_sign_state(self.nodes[number - 1])
        if self.case.burnt(self.members) is not None:
            self.burnt = burn_down(self.nodes[-1])

    def stand_still(self) -> None:
        """Starts all that are left, and shows that they decide nothing though work waits, and say why.

        Raises:
            AssertionError: a height moved, or `p2pnode why` says something that is not so.
        """
        if not self.case.stands:
            return
        self._tell("standing still")
        present = self.stating
        self._daemons.start(*present)
        wait_until(lambda: all(node.status() is not None for node in present), "all answer")
        highest = max(map(_height, present))
        wait_until(lambda: {_height(node) for node in present} == {highest}, "all at one height")
        for node in present:
            node.submit(self._transfer(present[0], node))
        waiting = present[-1].submit(self._transfer(present[0], present[-1], ahead=1), wait_s=STANDING_WAIT_S)
        assert waiting.status == 202, waiting.document
        assert {_height(node) for node in present} == {highest}, "decided without a quorum"
        verdict, who = "too_few_members", [self.nodes[number - 1] for number in self.case.forgetful(self.members)]
        if self.case.needs_people(self.members):
            verdict, who = "too_many_silent", present
        wait_until(lambda: all(_why(node)["verdict"] == verdict for node in who), f"they say {verdict}")
        (said,) = self.commands.run(("why", "--dir", self.street.directory, "--json"))
        replies: dict[str, dict[str, Any]] = json.loads(said)
        self.row.why = {node.name: replies[node.name]["sentence"] for node in present}
        for node in present:
            self._check_why(node, replies[node.name])
        self._daemons.stop(*present)

    def _check_why(self, node: Node, reply: dict[str, Any]) -> None:
        """Whoever lost something says that it signs nothing; whoever did not says how many are missing, and whom.
        Where no waiting helps, all name those who are silent, and the way out.
        """
        forgetful = [self.nodes[number - 1] for number in self.case.forgetful(self.members)]
        sentence, step = reply["sentence"], reply["waits_for"]
        assert reply["waiting_ms"], "it does not know that work waits"
        assert (reply["silence"] is not None) or node not in forgetful, sentence
        if self.case.needs_people(self.members):
            assert all(one.name in sentence for one in forgetful), sentence
            assert "no waiting ends this" in sentence, sentence
            assert "recover export" in sentence, sentence
        elif reply["silence"] is not None:
            assert reply["verdict"] == "too_few_members", sentence
        else:
            assert reply["verdict"] in {"view_change", "too_few_members", "leader_silent", "votes_split"}, sentence
            assert step["needed"] > 0, sentence
            assert {one.address.hex() for one in forgetful}.issubset(step["missing"]), sentence

    # --- the ceremony

    def hold(self) -> None:
        """Exports, plans, joins and applies by the real commands."""
        self._tell("ceremony")
        statements = self._export()
        if self.case.is_replaced:
            self._build_anew()
        self.commands.run(
            (*_recover("plan", self.nodes[0].home), *statements, "--output", self.plan_file, *self._departures())
        )
        plan = read_record(self.plan_file, PlanFile).plans[-1].plan
        joins = self._join()
        self.row.joined = tuple(self._number(node) for node in self.stating)
        agreements = [read_record(path, JoinFile).join for path in joins]
        self.row.complete = complete_statements(plan, agreements)
        self.row.complete_needed = complete_statements_needed(self.members)
        self.row.base, self.row.carried = plan.base, plan.carried is not None
        self._apply(plan, joins)

    def _build_anew(self) -> None:
        """Makes a new home in the burnt one's place, on another port; nobody edits a configuration."""
        home, like = self.nodes[-1].home, ("--like", self.nodes[0].home.configuration)
        place = (
            "--host",
            "127.0.0.1",
            "--port",
            str(free_port()),
            "--api-port",
            self.nodes[-1].url.split(":")[-1],
        )
        self.commands.run(("home", "new", home.directory, *like, "--member", self.nodes[-1].name, *place))
        key_file = ("--key-file", self.street.directory / AUTHORITY_KEY_FILE_NAME)
        self.commands.run(("ca", "issue", self.street.directory / AUTHORITY_NAME, home.request, *key_file, "--yes"))
        self.street = Street(self.street.directory)
        self._community = community_of(self.street)

    def _export(self) -> list[Path]:
        if self.case.is_disordered:
            second = self.nodes[1]
            self.commands.run((*_recover("export", second.home), "--output", self._file(second, "statement")))
            self.commands.run(_recover("release", second.home))
        self.commands.run(
            *((*_recover("export", node.home), "--output", self._file(node, "statement")) for node in self.stating)
        )
        return [self._file(node, "statement") for node in self.stating]

    def _departures(self) -> list[str | Path]:
        last, word = self.nodes[-1], authority(self.street.directory)
        if self.case.is_gone:
            return ["--gone", last.name, *word]
        if self.case.is_replaced:
            return ["--replaced", f"{last.name}={last.home.certificate}", *word]
        return [*word] if self.case.is_disordered else []

    def _join(self) -> list[Path]:
        self.commands.run(
            *(
                (*_recover("join", node.home), self.plan_file, "--output", self._file(node, "join"), "--yes")
                for node in self.stating
            )
        )
        return [self._file(node, "join") for node in self.stating]

    def _apply(self, plan: Plan, joins: Sequence[Path]) -> None:
        """Begins the era; where a decided block may be replaced, nothing happens without the word for it."""
        assert self.row.complete is not None
        typed = "" if self.row.keeps_all else f"{LOSS_WORD}\n"
        first = self.nodes[0]
        if not self.row.keeps_all:
            before = first.home.sign_state.read_bytes()
            assert "nothing was changed" in self.commands.refused(self._application(first.home, joins), typed="yes\n")
            assert (first.home.sign_state.read_bytes(), first.home.eras.joinpath("1.era").exists()) == (before, False)
        for said in self.commands.run(*(self._application(node.home, joins) for node in self.going_on), typed=typed):
            words = said.replace(",", " ").replace(".", " ").replace(";", " ").replace(":", " ").split()
            numbers = (self.row.complete, self.row.complete_needed, plan.base + 1)
            assert {str(number) for number in numbers}.issubset(words), said
            assert (LOSS_WORD in words) == (not self.row.keeps_all), said
        if self.case.is_disordered:
            self._apply_again(first.home, joins)
        if self.burnt is not None:
            self._refuse(self.burnt, joins, typed)

    def _apply_again(self, home: Home, joins: Sequence[Path]) -> None:
        """Applies at a home that has done it: that is no failure, and nothing changes."""
        before = home.sign_state.read_bytes()
        (said,) = self.commands.run(self._application(home, joins))
        assert "applied already: nothing was changed" in said
        assert home.sign_state.read_bytes() == before, "applied twice"

    def _refuse(self, home: Home, joins: Sequence[Path], typed: str) -> None:
        """Applies at a home that is no member's any more: nothing changes."""
        before = home.sign_state.read_bytes()
        self.commands.refused(self._application(home, joins), typed=typed)
        assert home.sign_state.read_bytes() == before, "applied by a key that is nobody's"

    def _application(self, home: Home, joins: Sequence[Path]) -> Arguments:
        return (*_recover("apply", home), self.plan_file, *joins, "--yes")

    # --- after

    def go_on(self) -> None:
        """Has those who take part decide: by everybody's own transfer, a trade of what was measured before, and with
        F of them away, so that who came late or is new is needed.
        """
        self._tell("going on")
        nodes = self.going_on
        self._daemons.start(*nodes)
        first_height = (self.row.base or 0) + (1 if self.row.carried else 0)
        wait_until(lambda: all(_height(node) >= first_height for node in nodes), "what is carried is decided")
        for node in nodes:
            self._decide(node, self._transfer(node, nodes[0]))
        self._decide(nodes[0], self._trade(nodes[0], nodes[-1]))
        if self.case.is_disordered:
            self._come_late()
        participants = self.participants
        wait_until(lambda: all(node.present_status()["silent"] is None for node in participants), "all sign")
        wait_until(lambda: len({node.present_status()["tip"] for node in participants}) == 1, "one tip")
        self._do_without(participants[1 : 1 + fault_bound(len(participants))])
        self._daemons.stop(*(node for node in participants if self._daemons.is_running(node)))
        self.row.height_after = max(map(height_of, participants))

    def _do_without(self, away: Sequence[Node]) -> None:
        """Decides with F members down: all others are needed, or all but one."""
        first = self.nodes[0]
        self._daemons.stop(*away)
        for _ in range(2):
            self._decide(first, self._transfer(first, self.nodes[-1]))

    def _come_late(self) -> None:
        """The last member's operator starts it in the old era, reads what it says, applies, and starts it again."""
        late, first = self.nodes[-1], self.nodes[0]
        stood = height_of(late)
        self._daemons.start(late)
        wait_until(lambda: late.status() is not None, "the late one answers")
        wait_until(lambda: _why(late)["verdict"] == "later_era", "it hears of the era")
        self._daemons.stop(late)
        assert height_of(late) <= max(stood, self.row.base or 0), "it took blocks of an era that it has not begun"
        joins = [self._file(node, "join") for node in self.stating]
        typed = "" if self.row.keeps_all else f"{LOSS_WORD}\n"
        (said,) = self.commands.run(self._application(late.home, joins), typed=typed)
        assert "asks the others" in said, said
        self._daemons.start(late)
        wait_until(lambda: late.status() is not None, "the late one answers")
        wait_until(lambda: _height(late) >= _height(first), "it caught up")
        wait_until(lambda: (late.present_status()["silent"] or {}).get("through"), "it is answered")
        for _ in range(3):
            self._decide(first, self._transfer(first, late))

    def _decide(self, through: Node, raw: bytes) -> None:
        _executed(through, raw)
        self.after.append(transaction_digest(raw))

    def explain(self) -> str:
        """Returns where every node stands and what it said last, for a failure's message."""
        said = [f"{node.name}: {node.status()}\n{node.log()[-LAST_WORDS:]}" for node in self.nodes]
        return "\n".join(said)

    # --- transactions

    def _transfer(self, sender: Node, recipient: Node, *, ahead: int = 0) -> bytes:
        return sender.transfer(recipient, 1, nonce=sender.next_nonce() + ahead)

    def _trade(self, seller: Node, buyer: Node) -> bytes:
        """Returns a contract over what member 1 measured in the second hour, in the old era."""
        contract = signed_trade(
            self._community,
            self._number(seller) - 1,
            self._number(buyer) - 1,
            TRADED_WH,
            offer_counter=1,
            interval_start_ms=FIRST_INTERVAL_MS + HOUR_MS,
        )
        return self._signed(seller, contract)

    def _signed(self, sender: Node, action: Action) -> bytes:
        return sign_transaction(
            sender.key,
            chain=self.street.chain,
            nonce=sender.next_nonce(),
            valid_until_height=VALID_UNTIL_HEIGHT,
            action=action,
        )

    def _file(self, node: Node, kind: str) -> Path:
        return self._directory / f"{node.name}.{kind}"

    def _number(self, node: Node) -> int:
        return self.nodes.index(node) + 1


def _beforehand(builder: ChainBuilder) -> None:
    builder.append_trading_hour(0, energy_wh=TRADED_WH)
    for _ in range(BLOCKS_BEFOREHAND):
        builder.append([builder.transfer(0, 1, 1)])


def _recover(step: str, home: Home) -> tuple[str | Path, ...]:
    return "recover", step, "--config", home.configuration


def _height(node: Node) -> int:
    status = node.status()
    return -1 if status is None else int(status["height"])


def _executed(node: Node, raw: bytes) -> dict[str, Any]:
    """Returns what a node says of a transaction once it is executed; asks again, as a client would."""

    def ask() -> dict[str, Any] | None:
        reply = node.submit(raw, wait_s=REPLY_WAIT_S)
        assert reply.status in {200, 202}, reply.document
        return reply.document if reply.document["status"] == "executed" else None

    return wait_until(ask, f"{node.name} has it decided", deadline_s=DECIDED_DEADLINE_S)


def _why(node: Node) -> dict[str, Any]:
    document: dict[str, Any] = node.request("/v1/why").document
    return document


def _has_voted(node: Node) -> bool:
    """Says whether a running node voted at its undecided height."""
    try:
        return _why(node)["signed"]["voted"] is not None
    except (OSError, HTTPException):
        return False
