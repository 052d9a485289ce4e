"""How programs of one launch add up what each of them has computed a part of.

Each writes its part, then counts itself. Whoever comes last adds the parts up, in their order and
not in that of arrival, so that the sum is the same every time; and it sets the count back to zero
for the next launch.
"""

import triton
import triton.language as tl


@triton.jit
def arrives_last(counter, num_programs):
    """Count this program; return whether all others have written their parts."""
    # All threads of this program have written before one of them counts; "acq_rel" lets whoever
    # reads that count see what they wrote.
    tl.debug_barrier()
    is_last = tl.atomic_add(counter, 1, sem="acq_rel") == num_programs - 1
    if is_last:
        tl.store(counter, 0)
    return is_last


@triton.jit
def read_part(place):
    """Read what other programs wrote: from where all see the same, not from a nearer cache."""
    return tl.load(place, cache_modifier=".cg")
