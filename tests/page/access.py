"""What keeps people out of a page: found by axe, by its width, by its focus and its animations."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_OVERFLOW = """() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    return [...document.body.querySelectorAll("*")]
        .filter((each) => each.getBoundingClientRect().right > clientWidth)
        .map((each) => `${each.localName}#${each.id}.${each.className}`);
}"""
_FOCUSED = """() => {
    const { activeElement } = document;
    const style = getComputedStyle(activeElement);
    const { top, bottom } = activeElement.getBoundingClientRect();
    return {
        name: activeElement.id
            || (activeElement === document.body ? "body" : activeElement.textContent.trim())
            || activeElement.localName,
        isOutlined: style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2,
        isInSight: top < innerHeight && bottom > 0,
    };
}"""
_NOTE_ANNOUNCEMENTS = """() => {
    window.announcements = [];
    for (const place of document.querySelectorAll("[role=status], [role=alert]")) {
        new MutationObserver(() => {
            const text = place.hidden ? "" : place.textContent;
            if (text && text !== announcements.at(-1)) announcements.push(text);
        }).observe(place, {
            attributeFilter: ["hidden"], characterData: true, childList: true, subtree: true,
        });
    }
}"""


def barriers(page: "Page") -> list[str]:
    """Return what axe finds wrong with a page as it is now."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


def too_wide(page: "Page") -> list[str]:
    """Return what makes a page scroll from side to side; nothing where it does not."""
    return list(page.evaluate(_OVERFLOW))


class Focus:
    """Where the keyboard is."""

    def __init__(self, page: "Page") -> None:
        self._page = page
        self._update()

    def press(self, key: str) -> None:
        """Press a key."""
        self._page.keyboard.press(key)
        self._update()

    def go_to(self, name: str, *, key: str = "Tab") -> list[str]:
        """Press a key until a control has the focus, and return what had it on the way.

        Args:
            name: its id, or its text where it has none.
            key: Tab, or Shift+Tab.
        """
        passed: list[str] = []
        while self.name != name:
            self.press(key)
            assert self.name not in passed, f"{name} is not among {passed}"
            passed.append(self.name)
        return passed

    def _update(self) -> None:
        told = self._page.evaluate(_FOCUSED)
        self.name: str = told["name"]
        self.is_visible: bool = told["isOutlined"] and told["isInSight"]


def note_announcements(page: "Page") -> None:
    """Note what a screen reader is told from now on."""
    page.evaluate(_NOTE_ANNOUNCEMENTS)


def announcements(page: "Page") -> list[str]:
    """Return it, in order."""
    return list(page.evaluate("() => announcements"))
