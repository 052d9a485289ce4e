"""What a person hears of a page: the samples on their way to the speakers."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.fakes.http_worker import pcm_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


def open_ear(context: "BrowserContext") -> None:
    """Hear what the pages of a context play, from their next load on."""
    context.add_init_script(path=Path(__file__).with_name("ear.js"))


def take_heard(page: "Page") -> np.ndarray:
    """Return what was heard since the last time, [samples] int16 without the silence around it."""
    return trimmed(pcm_of(base64.b64decode(page.evaluate("() => takeHeard()"))))


def first_sound_ms(page: "Page") -> float | None:
    """Return when the first sound was heard, in milliseconds of the page's clock."""
    moment: float | None = page.evaluate("() => firstSoundMs()")
    return moment


def trimmed(samples: np.ndarray) -> np.ndarray:
    """Return samples without the silence around them: what is exactly zero."""
    (sounding,) = np.nonzero(samples)
    return samples[sounding[0] : sounding[-1] + 1] if len(sounding) else samples[:0]
