"""The inquiry for the height holds whatever the members of the heights are."""

from tests.simulation.inquiries import run_inquiries


def test_a_silence_never_ends_below_what_was_signed_however_the_members_change() -> None:
    assert run_inquiries(range(20_000)) > 5_000
