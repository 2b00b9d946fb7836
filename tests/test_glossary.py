"""The glossary: in order, every link of every page answered, every term where it is said to be."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TERM = re.compile(r"^### (.+)\n\n(.+) \*\((.*)\)\*$", re.MULTILINE)


def prose(path: Path) -> str:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


GLOSSARY = prose(NOTEBOOKS / "glossary.ipynb")
TERMS = {term: (text, where) for term, text, where in TERM.findall(GLOSSARY)}
PAGES = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))


def test_every_heading_is_a_term_with_a_text_and_a_place():
    assert re.findall(r"^### (.+)$", GLOSSARY, re.MULTILINE) == list(TERMS) and len(TERMS) >= 60


def test_terms_are_in_alphabetical_order():
    assert list(TERMS) == sorted(TERMS, key=str.lower)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_into_the_glossary_finds_its_term(page):
    anchors = {term.replace(" ", "-") for term in TERMS}
    links = re.findall(r"glossary\.ipynb#([\w-]+)", prose(page))
    assert set(links) <= anchors and len(set(links)) >= 5


@pytest.mark.parametrize("term", TERMS)
def test_a_term_appears_on_the_page_that_is_named(term):
    _, where = TERMS[term]
    links = re.findall(r"\]\(([^)]+)\)", where)
    for link in links:
        assert (NOTEBOOKS / link).exists(), link
    pages = [link for link in links if link.endswith(".ipynb")]
    assert pages
    for page in pages:
        text = (NOTEBOOKS / page).read_text("utf-8").lower()
        forms = {term.lower(), term.lower().replace("-", " "), term.lower().rstrip("s")}
        forms.add(f"glossary.ipynb#{term.lower().replace(' ', '-')}")
        assert any(form in text for form in forms), f"{term} is not on {page}"
