"""What people look at a page on, as arguments of `open_page`."""

from typing import Any

PHONE = {"width": 360, "height": 740}
"""The narrowest that is common, in CSS pixels."""
DESKTOP = {"width": 1440, "height": 900}

SCREENS: dict[str, dict[str, Any]] = {
    f"{name}, {scheme}": {"viewport": viewport, "color_scheme": scheme}
    for name, viewport in (("phone", PHONE), ("desktop", DESKTOP))
    for scheme in ("light", "dark")
}
