"""Random operations about the rules: proposals of others, right ones and wrong, while readings and trades go on."""

from msgspec.structs import replace

from consensus.identifiers import Height
from contracts.rule_records import Rules, RulesChange
from contracts.rules import BLOCK_TRANSACTIONS_LIMIT, NOTICE_HEIGHTS
from contracts.state import RULES_KEY
from contracts.transactions import Propose
from tests.support.removal_operations import PROPOSERS, Operation, RemovalOperations


class RulesOperations(RemovalOperations):
    """Gives one operation after the other; each is made for the state that it meets."""

    def next(self) -> Operation:
        """Returns who sends what next."""
        return self._random.choices((self._change, self._approval, self._withdrawal), weights=(4, 24, 3))[0]()

    def _change(self) -> Operation:
        """Mostly of a parameter, some blocks behind the first one that may be; sometimes of nothing, or too soon."""
        rules = self._chain.read(RULES_KEY, Rules)
        slots = self._random.choice((*range(4, 20), rules.parameters.gate_closure_slots))
        present = rules.parameters.block_transactions_max
        transactions = self._random.choice((*(present,) * 4, BLOCK_TRANSACTIONS_LIMIT + 1))
        change = RulesChange(
            version=rules.version + self._random.choice((*(0,) * 8, 1, 2)),
            from_height=Height(self._chain.height + NOTICE_HEIGHTS + self._random.randrange(-2, 160)),
            parameters=replace(rules.parameters, gate_closure_slots=slots, block_transactions_max=transactions),
        )
        return self._random.choice((*range(PROPOSERS), self._homes.grid_key)), Propose(subject=change)
