"""Links by reference: found where Markdown has one, and nowhere else."""

import pytest

from higgs_worker.errors import InvalidRequest
from higgs_worker.text.link_references import LinkReferences
from higgs_worker.text.markup import parse
from tests.text.timing import check_linear

DEFINED = "\n\n[The  Docs]: https://example.com/a"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("See [this][1].", "See [this][1]."),
        ("See [this][] now.", "See [this][] now."),
        ("See [this][the docs]." + DEFINED, "See [this][]." + DEFINED),
        ("See [the docs]." + DEFINED, "See [the docs]." + DEFINED),
        ("![A cat][the docs]" + DEFINED, "![A cat][]" + DEFINED),
        ("[id]: /path\n[id2]: <mailto:a@b.c>", "[id]: /path\n[id2]: <mailto:a@b.c>"),
    ],
)
def test_links_are_no_tags(text: str, read: str) -> None:
    """Strictly read, too; an id that is defined leaves its place, so that it is not read."""
    passages = parse(text, strict=True)
    assert "".join(each.text for each in passages) == text
    assert LinkReferences(text).without_ids(text) == read


@pytest.mark.parametrize(
    "text",
    ["[First name][Last name]", "[sigh][moan]", "[sigh][docs]\n\n[docs]: none", "[laugh][sigh]"],
)
def test_words_behind_a_bracket_are_no_id_unless_defined(text: str) -> None:
    """Two words in brackets are refused, or both are read."""
    with pytest.raises(InvalidRequest, match="strict_tags"):
        parse(text)
    assert LinkReferences(text).without_ids(text) == text


@pytest.mark.parametrize("unit", ["[", "[a][", "[a][1]", "[a]: /b ", "[a][b] [b]: /c\n", "[1, "])
def test_time_grows_with_the_text_alone(unit: str) -> None:
    """Whatever is repeated."""

    def run(num: int) -> None:
        text = unit * num
        links = LinkReferences(text)
        links.brackets(text)
        links.without_ids(text)

    check_linear(run, 1500)
