"""What the plan of memory gives each card."""

from benchmarks.slots import CARDS_GIB, DEFAULT_S, FORMATS, longest_reference_s, num_slots

BF16, INT8 = FORMATS
SMALLEST, *OTHERS = CARDS_GIB.values()


def test_every_card_speaks_with_a_reference_of_a_minute() -> None:
    """Cards of 24 GB hold many slots beside it, those of 16 GB some; more memory is never less."""
    slots = [num_slots(gib, BF16, DEFAULT_S) for gib in OTHERS]
    assert slots == sorted(slots)
    assert slots[0] >= 4
    assert slots[2] >= 16
    assert slots[-1] == 64


def test_8_bits_open_a_card() -> None:
    """One of 12 GB speaks in 8 bits alone; the others get nine slots more, up to the cap."""
    assert num_slots(SMALLEST, BF16, DEFAULT_S) == 0
    assert num_slots(SMALLEST, INT8, DEFAULT_S) >= 4
    for gib in OTHERS:
        more = num_slots(gib, INT8, DEFAULT_S) - num_slots(gib, BF16, DEFAULT_S)
        assert more >= 9 or num_slots(gib, INT8, DEFAULT_S) == 64


def test_a_long_reference_costs_positions() -> None:
    """Each card takes a reference of minutes, and one that is too small for all is told so."""
    assert all(longest_reference_s(gib, BF16) > 300 for gib in OTHERS)
    assert longest_reference_s(SMALLEST, INT8) > 300
    assert num_slots(12.0, BF16, DEFAULT_S) == longest_reference_s(12.0, BF16) == 0
