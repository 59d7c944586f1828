"""The documents that are written from a database, on a small one made up here."""

import pytest

from scripts.documenting.__main__ import main
from scripts.documenting.catalogue import Catalogue, Column, Constraint, Function, Relation
from scripts.documenting.dbt_sources import HEAD, dbt_sources
from scripts.documenting.dictionary import dictionary

KIND = Column(
    schema="run_analytics",
    relation="colours",
    name="kind",
    type="text",
    is_required=True,
    meaning='Red: "warm" | cold.',
)
NO = Column(
    schema="run_analytics",
    relation="colours",
    name="no",
    type="bigint",
    is_required=False,
    meaning=None,
)
COLOURS = Relation(
    schema="run_analytics",
    name="colours",
    is_view=False,
    meaning="yes",
    columns=(KIND, NO),
    constraints=(
        Constraint(
            schema="run_analytics",
            relation="colours",
            kind="c",
            columns=("kind",),
            rule="CHECK ((kind = ANY (ARRAY['red'::text, 'blue'::text])))",
        ),
        Constraint(
            schema="run_analytics",
            relation="colours",
            kind="p",
            columns=("kind",),
            rule="PRIMARY KEY (kind)",
        ),
    ),
)
MIX = Function(
    schema="run_analytics",
    name="mix",
    arguments="one text, other text",
    result="text",
    meaning="What becomes of two.",
)
FOUND = Catalogue(relations=(COLOURS,), functions=(MIX,))


def test_sources_for_dbt_quote_what_yaml_would_misread() -> None:
    assert dbt_sources(FOUND) == HEAD + (
        "version: 2\n"
        "sources:\n"
        "  - name: run_analytics\n"
        "    schema: run_analytics\n"
        '    description: "What people query: views and prices of runtide."\n'
        "    tables:\n"
        "      - name: colours\n"
        '        description: "yes"\n'
        "        columns:\n"
        "          - name: kind\n"
        "            data_type: text\n"
        '            description: "Red: \\"warm\\" | cold."\n'
        "            data_tests:\n"
        "              - not_null\n"
        "              - unique\n"
        "              - accepted_values:\n"
        "                  arguments:\n"
        "                    values:\n"
        "                      - red\n"
        "                      - blue\n"
        '          - name: "no"\n'
        "            data_type: bigint\n"
        "            description: null\n"
        "  - name: run_history\n"
        "    schema: run_history\n"
        '    description: "What was observed: runs as the server tells them."\n'
        "    tables:\n"
    )


def test_the_dictionary_tells_rules_values_and_functions() -> None:
    page = dictionary(FOUND)

    assert page.partition("## run_history\n")[0].partition("### ")[2] == (
        "run_analytics.colours (table)\n"
        "\n"
        "yes\n"
        "\n"
        "Key: `kind`  \n"
        "Holds: `CHECK ((kind = ANY (ARRAY['red'::text, 'blue'::text])))`  \n"
        "\n"
        "| column | type | null | meaning |\n"
        "|---|---|---|---|\n"
        '| `kind` | text | never | Red: "warm" \\| cold. One of `red`, `blue`. |\n'
        "| `no` | bigint | may be |  |\n"
        "\n"
        "### run_analytics.mix (function)\n"
        "\n"
        "What becomes of two.\n"
        "\n"
        "```\n"
        "run_analytics.mix(one text, other text)\n"
        "RETURNS text\n"
        "```\n"
        "\n"
    )


@pytest.mark.parametrize("arguments", [[], ["other"], ["queries", "--now"]])
def test_wrong_usage_is_told_and_nothing_is_begun(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    assert capsys.readouterr() == (
        "",
        "usage: scripts/dictionary [--check], scripts/queries [--check]\n",
    )
