"""Says at the end how much was really tried; counted from the reports, as each core runs a part of the tests."""

import pytest

from tests.simulation.mutants import MUTANTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.stats.get("passed", ())
    killed = sum("test_a_mutant_is_killed" in report.nodeid for report in passed)
    for tried, what in (("operations", "random operations of the market"), ("cases", "malicious submissions")):
        count = sum(value for report in passed for name, value in report.user_properties if name == tried)
        if count:
            terminalreporter.write_line(f"{count:,} {what}")
    if killed:
        terminalreporter.write_line(f"killed {killed} of {len(MUTANTS)}")
