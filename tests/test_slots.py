"""What the plan of memory gives each card."""

from benchmarks.slots import BF16, CARDS_GIB, DEFAULT_S, longest_reference_s, num_slots


def test_every_card_speaks_with_a_reference_of_a_minute() -> None:
    """Cards of 24 GB hold many slots beside it, those of 16 GB some; more memory is never less."""
    slots = [num_slots(gib, BF16, DEFAULT_S) for gib in CARDS_GIB.values()]
    assert slots == sorted(slots)
    assert slots[0] >= 4
    assert slots[1] >= 16
    assert slots[-1] == 64


def test_a_long_reference_costs_positions() -> None:
    """Each card takes a reference of minutes, and one that is too small for all is told so."""
    assert all(longest_reference_s(gib, BF16) > 300 for gib in CARDS_GIB.values())
    assert num_slots(12.0, BF16, DEFAULT_S) == longest_reference_s(12.0, BF16) == 0
