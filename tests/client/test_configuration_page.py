"""The reference of configurations says what the models say."""

from components.client.configuration_page import PAGE, configuration_page


def test_the_page_is_that_of_the_models():
    assert PAGE.read_text(encoding="utf-8") == configuration_page(), "after a change that is meant: make docs"


def test_every_key_says_what_it_sets():
    rows = [line.split(" | ") for line in configuration_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [row[0] for row in rows if not row[3].strip()] == []
