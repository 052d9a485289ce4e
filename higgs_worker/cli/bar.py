"""A progress bar on a terminal, and nothing where stderr is a file or a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """Give a function that draws one line on stderr, which is cleared at the end.

    It takes how much is done, from 0 to 1, and a note to stand behind the bar, which is cut where
    the terminal ends.
    """
    from tqdm import tqdm

    form = title + " {bar:30} {percentage:3.0f}% {desc}"
    with tqdm(total=1, bar_format=form, disable=None, dynamic_ncols=True, leave=False) as bar:

        def show(fraction: float, note: str) -> None:
            bar.n = min(1.0, max(0.0, fraction))
            bar.set_description_str(note)

        yield show
