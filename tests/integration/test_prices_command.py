"""`runtide prices`: what it prints, what it writes, and how it refuses."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.cli.entry import run
from etl.load.database import opened
from tests.conftest import as_text
from tests.integration.builders import execute, query, row_versions
from tests.integration.commands import Runtide
from tests.integration.pricing import CONFIGURED

HOUSE = """\
provider,model,token_kind,usd_per_million,effective_from
openai,house-model,input,1,2026-01-01
openai,house-model,output,10,2026-01-01
openai,gpt-4o,input,2,2026-04-01
"""


@pytest.fixture
def engine(priced: Engine) -> Engine:
    return priced


@pytest.fixture
def runtide(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> Runtide:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure("http://demo", source=CONFIGURED)
    return runtide


@pytest.fixture
def house(tmp_path: Path) -> str:
    """A file of prices."""
    path = tmp_path / "house.csv"
    path.write_text(HOUSE)
    return str(path)


def own_prices(engine: Engine) -> list[tuple[object, ...]]:
    """What the user set, as text."""
    return query(
        engine,
        "SELECT provider, model, token_kind, usd_per_million::text,"
        " effective_from::text FROM run_analytics.model_prices WHERE origin = 'user'"
        " ORDER BY provider, model, token_kind, effective_from",
    )


def lines(text: str) -> str:
    """A table without its rule, and without the blanks that fill its lines."""
    stripped = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in stripped if line.strip(" ─"))


# list ------------------------------------------------------------------------


def test_the_prices_of_the_models_in_use_are_listed(runtide: Runtide) -> None:
    code, out, err = runtide("prices", "list")

    assert (code, err) == (0, "")
    assert lines(out) == LISTED


LISTED = """\
 source   model                               runs   priced as        found by
 demo     ft:gpt-4o-mini-2024-07-18:org::id      1   ft:gpt-4o-mini   beginning of the name
 demo     gpt-35-turbo                           1   gpt-3.5-turbo    other name
 demo     gpt-4o                                 4   gpt-4o           name
 demo     gpt-4o-2024-08-06                      1   gpt-4o           other name
 demo     gpt-4o-2031-01-01                      1   gpt-4o           name without date
 demo     house-model                            1   unpriced         -
 demo     support-bot                            1   gpt-4o           configuration
 other    gpt-4o                                 1   unpriced         -
 model            input   cached   output   since    origin
 ft:gpt-4o-mini     0.3      0.3      1.2   always   genai-prices
 gpt-3.5-turbo      0.5      0.5      1.5   always   genai-prices
 gpt-4o             2.5     1.25       10   always   genai-prices
US dollars for a million tokens; origins: genai-prices 0.2.3.
Unpriced: 2 names, with 2 runs; `runtide prices check` says what to do."""


def test_no_line_of_a_list_is_longer_than_a_terminal(
    runtide: Runtide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, and nothing bold

    for arguments in (["list"], ["list", "--all"], ["check"]):
        printed = lines(runtide("prices", *arguments).out)
        assert max(map(len, printed.splitlines())) <= 80
        assert "gpt-4o-2031-01-01" in printed or arguments != ["list"]


def test_a_name_that_no_run_carries_is_listed_where_it_would_have_a_price(
    runtide: Runtide,
) -> None:
    code, out, _ = runtide("prices", "list", "gpt-4.1-2030-01-01", "--json")

    assert code == 0
    assert json.loads(out) == [
        {
            "source": None,
            "model": "gpt-4.1-2030-01-01",
            "provider": "openai",
            "price_model": "gpt-4.1",
            "found_by": "name without date",
            "runs": 0,
            "input_usd_per_million": "2",
            "cached_input_usd_per_million": "0.5",
            "output_usd_per_million": "8",
            "since": "1970-01-01T00:00:00Z",
            "origin": "genai-prices 0.2.3",
        }
    ]


def test_what_held_at_a_moment_is_listed(runtide: Runtide) -> None:
    runtide("prices", "set", "gpt-4o", "--input", "2", "--from", "2026-04-01")

    def held(at: str) -> tuple[str, str]:
        answer = runtide("prices", "list", "gpt-4o", "--at", at, "--json")
        [row] = [each for each in json.loads(answer.out) if each["source"] == "demo"][:1]
        return row["input_usd_per_million"], row["since"]

    assert held("2026-03-31T23:59:59.999999") == ("2.5", "1970-01-01T00:00:00Z")
    assert held("2026-04-01") == ("2", "2026-04-01T00:00:00Z")
    periods = lines(runtide("prices", "list", "--all", "gpt-4o").out).splitlines()
    assert [each.split() for each in periods[1:3]] == [
        ["gpt-4o", "2.5", "1.25", "10", "always", "genai-prices"],
        ["gpt-4o", "2", "1.25", "10", "2026-04-01", "user,", "genai-prices"],
    ]
    assert len(periods) == 4


def test_all_models_are_listed_and_those_without_a_whole_price_as_unpriced(
    runtide: Runtide,
) -> None:
    runtide("prices", "set", "half-model", "--input", "2")

    rows = lines(runtide("prices", "list", "--all").out).splitlines()

    assert ["half-model", "-", "-", "-", "-", "unpriced"] in [row.split() for row in rows]
    assert len(rows) > 80


@pytest.mark.parametrize("how", ["--csv", "--json"])
def test_what_list_prints_import_takes_and_changes_nothing(
    runtide: Runtide, engine: Engine, tmp_path: Path, how: str
) -> None:
    runtide("prices", "set", "gpt-4o", "--input", "2.50", "--from", "2026-04-01T12:00")
    path = tmp_path / "prices"
    path.write_text(runtide("prices", "list", "--all", how).out)
    before = row_versions(engine, "run_analytics")
    rows = query(engine, "SELECT count(*) FROM run_analytics.model_prices")[0][0]

    answer = runtide("prices", "import", str(path))

    assert answer == (
        0,
        (
            f"{rows} prices read: 0 new, 0 changed, {rows} as they stand.\n"
            "No run's cost changes.\n"
        ),
        "",
    )
    assert row_versions(engine, "run_analytics") == before


# set, unset, import ----------------------------------------------------------


def test_a_price_that_is_set_tells_what_its_runs_cost_before_and_after(
    runtide: Runtide, engine: Engine
) -> None:
    answer = runtide(
        "prices", "set", "gpt-4o", "--input=2", "--output", "8.00", "--from", "2026-04-01"
    )

    assert answer == (
        0,
        (
            "gpt-4o of openai costs 2 for input, 8.00 for output from 2026-04-01 on (US"
            " dollars for a million tokens).\n"
            "1 run concerned: 3.0000 USD before, 2.5000 USD after (-0.5000 USD).\n"
        ),
        "",
    )
    assert own_prices(engine) == [
        ("openai", "gpt-4o", "input", "2", "2026-04-01 00:00:00+00"),
        ("openai", "gpt-4o", "output", "8.00", "2026-04-01 00:00:00+00"),
    ]


def test_a_price_holds_from_the_beginning_unless_told_otherwise(
    runtide: Runtide, engine: Engine
) -> None:
    answer = runtide("prices", "set", "gpt-4o", "--cached-input", "0.25")

    assert answer.out == (
        "gpt-4o of openai costs 0.25 for cached input from the beginning on (US dollars"
        " for a million tokens).\n"
        "6 runs concerned: 18.0000 USD before, 15.6000 USD after (-2.4000 USD).\n"
    )
    assert own_prices(engine) == [
        ("openai", "gpt-4o", "cached_input", "0.25", "1970-01-01 00:00:00+00")
    ]


def test_half_a_price_counts_for_no_run_and_says_so(runtide: Runtide) -> None:
    answer = runtide("prices", "set", "gpt-4o-2024-08-06", "--input", "2")

    assert answer.out == (
        "gpt-4o-2024-08-06 of openai costs 2 for input from the beginning on (US dollars"
        " for a million tokens).\n"
        "gpt-4o-2024-08-06 of openai has no price for output; what it has counts for no"
        " run until `runtide prices set gpt-4o-2024-08-06 --output USD`.\n"
        "No run's cost changes.\n"
    )


def test_a_price_of_a_provider_that_nobody_has_says_so(runtide: Runtide) -> None:
    answer = runtide("prices", "set", "a", "--input=1", "--output=1", "--provider", "azure")

    assert answer.out.splitlines()[1:] == [
        'No source has price_provider = "azure", so its prices count for no run.',
        "No run's cost changes.",
    ]


def test_a_price_of_a_name_that_is_mapped_elsewhere_says_so(runtide: Runtide) -> None:
    answer = runtide("prices", "set", "support-bot", "--input=1", "--output=1")

    assert answer.out.splitlines()[1:] == [
        (
            "In source demo support-bot is mapped to gpt-4o-2024-08-06, whose price counts"
            " there."
        ),
        "No run's cost changes.",
    ]


def test_a_price_that_is_unset_tells_what_its_runs_cost_before_and_after(
    runtide: Runtide, engine: Engine
) -> None:
    runtide("prices", "set", "gpt-4o", "--input=2", "--from", "2026-04-01T00:00+00:00")
    runtide("prices", "set", "gpt-4o", "--input=1", "--output", "8")

    assert runtide("prices", "unset", "gpt-4o", "--from", "2026-04-01") == (
        0,
        (
            "Taken away: 2 for input of gpt-4o from 2026-04-01 on.\n"
            "1 run concerned: 2.5000 USD before, 1.9000 USD after (-0.6000 USD).\n"
        ),
        "",
    )
    assert runtide("prices", "unset", "gpt-4o").code == 0
    assert own_prices(engine) == []


def test_a_file_is_taken_in_and_leaves_alone_what_it_does_not_name(
    runtide: Runtide, engine: Engine, house: str
) -> None:
    runtide("prices", "set", "gpt-4o", "--output", "9")
    runtide("prices", "set", "gpt-4o", "--input", "9", "--from", "2026-04-01")

    assert runtide("prices", "import", house) == (
        0,
        (
            "3 prices read: 2 new, 1 changed, 0 as they stand.\n"
            "2 runs concerned: 6.8000 USD with 1 run unpriced before, 4.6000 USD after"
            " (-2.2000 USD).\n"
        ),
        "",
    )
    assert [row[:4] for row in own_prices(engine)] == [
        ("openai", "gpt-4o", "input", "2"),
        ("openai", "gpt-4o", "output", "9"),
        ("openai", "house-model", "input", "1"),
        ("openai", "house-model", "output", "10"),
    ]
    assert runtide("prices", "import", house).out == (
        "3 prices read: 0 new, 0 changed, 3 as they stand.\nNo run's cost changes.\n"
    )


def test_standard_input_is_a_file_too(
    runtide: Runtide, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(HOUSE.encode())))

    assert runtide("prices", "import", "-").code == 0

    assert len(own_prices(engine)) == 3


def test_of_a_file_with_one_wrong_line_nothing_is_taken(
    runtide: Runtide, engine: Engine, house: str
) -> None:
    Path(house).write_text(HOUSE + "openai,o1,input,15 USD,2026-01-01\n")

    assert runtide("prices", "import", house) == (
        2,
        "",
        (
            f"runtide: {house}, line 5: usd_per_million is '15 USD', expected US dollars"
            " for a million tokens as a plain number such as 2.50 (leave the currency"
            " out).\n"
        ),
    )
    assert own_prices(engine) == []


# check -----------------------------------------------------------------------


def test_what_is_unpriced_needs_a_person(runtide: Runtide) -> None:
    runtide("prices", "set", "gpt-4o", "--output", "10")

    code, out, err = runtide("prices", "check")

    assert (code, err) == (3, "")
    assert lines(out) == CHECKED


CHECKED = """\
models in use without a price
 source   model         provider   runs      tokens   first day    last day
 demo     house-model   openai        1   1,100,000   2026-02-01   2026-02-01
 other    gpt-4o        mine          1   1,100,000   2026-01-15   2026-01-15
Set a price: `runtide prices set MODEL --input USD --output USD`; or say in
[sources.models] of the configuration which priced model a name stands for.
prices of yours that are known anyway
 provider   model    tokens   USD   since    says so as well
 openai     gpt-4o   output    10   always   genai-prices 0.2.3
`runtide prices unset MODEL` takes them away; they need nobody.
Needs a person: 2 runs unpriced."""


@pytest.fixture
def huge_runs(engine: Engine) -> Iterator[int]:
    """Three more runs with tokens that no bigint can add up; their sum."""
    more = """
        INSERT INTO run_history.runs
        SELECT (jsonb_populate_record(r, jsonb_build_object(
            'run_id', 'run_huge_' || n, 'total_tokens', (2::numeric ^ 62)::bigint))).*
        FROM run_history.runs r, generate_series(1, 3) AS n WHERE r.model = 'house-model'
    """
    execute(engine, more)
    yield 3 * 2**62
    execute(engine, "DELETE FROM run_history.runs WHERE run_id LIKE 'run_huge_%'")


def test_more_unpriced_tokens_than_a_bigint_holds_are_told(
    runtide: Runtide, huge_runs: int
) -> None:
    answer = runtide("prices", "check")

    assert answer.code == 3
    assert f"{huge_runs + 1_100_000:,}" in answer.out


def test_a_name_of_the_configuration_counts_at_once_and_is_told_where_it_leads_nowhere(
    runtide: Runtide,
) -> None:
    names = '{ "support-bot" = "house-modell", "house-model" = "gpt-4o" }'
    runtide.configure("http://demo", source=f"models = {names}")

    code, out, _ = runtide("prices", "check", "--json")

    found = json.loads(out)
    assert (code, found["needs_a_person"]) == (3, True)
    assert found["mapped_to_no_price"] == [
        {
            "source": "demo",
            "name": "support-bot",
            "model": "house-modell",
            "provider": "openai",
        }
    ]
    assert [(each["model"], each["unpriced_runs"]) for each in found["unpriced"]] == [
        ("support-bot", 1),
        ("gpt-4o", 1),
    ]
    assert lines(runtide("prices", "check").out).splitlines()[-1] == (
        "Needs a person: 2 runs unpriced, 1 name mapped to no price."
    )


def test_where_everything_is_priced_nobody_is_needed(runtide: Runtide, house: str) -> None:
    runtide("prices", "import", house)
    for model, provider in (("gpt-4o", "mine"), ("house-model", "openai")):
        amounts = ["--input=1", "--output=1", "--provider", provider]
        runtide("prices", "set", model, *amounts)

    assert runtide("prices", "check") == (0, "Every model in use has a price.\n", "")


def test_a_file_is_checked_before_it_is_applied(
    runtide: Runtide, engine: Engine, house: str
) -> None:
    before = row_versions(engine, "run_analytics", "run_sync")

    code, out, err = runtide("prices", "check", house)

    assert (code, err) == (0, "")
    assert lines(out) == CHANGES
    assert row_versions(engine, "run_analytics", "run_sync") == before


CHANGES = """\
source demo, in US dollars
 model         month     runs   before    after    change   unpriced
 gpt-4o        2026-04      1   3.0000   2.7000   -0.3000
 house-model   2026-02      1        -   2.0000    2.0000   1 then 0
3 prices read: 3 new, 0 changed, 0 as they stand.
2 runs concerned: 3.0000 USD with 1 run unpriced before, 4.7000 USD after (+1.7000 USD).
Nothing is written yet."""


def test_what_a_check_promises_is_what_setting_the_price_does(
    runtide: Runtide, engine: Engine
) -> None:
    told = ["house-model", "--input", "1", "--output", "10", "--from", "2026-02-01"]

    checked = json.loads(runtide("prices", "check", *told, "--json").out)
    assert own_prices(engine) == []
    runtide("prices", "set", *told)

    month = {
        "runs": 1,
        "cost_usd_before": None,
        "cost_usd_after": "2.000000",
        "difference_usd": "2.000000",
        "unpriced_runs_before": 1,
        "unpriced_runs_after": 0,
    }
    whose = {"source": "demo", "model": "house-model", "month": "2026-02"}
    assert checked == {
        "prices": {"new": 2, "changed": 0, "unchanged": 0},
        "gaps": [],
        "unused_providers": [],
        "mapped": [],
        "months": [whose | month],
        "total": month,
    }
    assert query(
        engine,
        "SELECT cost_usd::text FROM run_analytics.run_costs WHERE model = 'house-model'",
    ) == [("2.000000",)]


# What is refused -------------------------------------------------------------

NO_NAME = "expected 1 to 200 characters that can be printed, without spaces around them."
AN_INSTANT = (
    "expected a day such as 2026-06-01 or an instant such as 2026-06-01T12:00:00Z, from"
    " 1970 to 2099."
)
PLAIN = "expected US dollars for a million tokens as a plain number such as 2.50"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["set", "gpt-4o"], "Name a price: --input, --cached-input or --output."),
        (
            ["set", "gpt-4o", "--input", "-1"],
            f"--input is '-1', {PLAIN} (it is negative).",
        ),
        (
            ["set", "gpt-4o", "--cached-input", "nan"],
            f"--cached-input is 'nan', {PLAIN} (it is no such number).",
        ),
        (
            ["set", "gpt-4o", "--output", "1", "--from", "tomorrow"],
            f"--from is 'tomorrow', {AN_INSTANT}",
        ),
        (["set", "", "--input", "1"], f"MODEL is '', {NO_NAME}"),
        (
            ["set", "a", "--input", "1", "--provider", "a b"],
            (
                "--provider is 'a b', expected 1 to 64 letters, digits, dots, dashes or"
                " underscores."
            ),
        ),
        (
            ["unset", "gpt-4o"],
            (
                "You set no price for 'gpt-4o' of openai; `runtide prices list --all"
                " --csv` shows all with their origin."
            ),
        ),
        (
            ["unset", "gpt-4o", "--from", "2026-01-01", "--provider", "mine"],
            (
                "You set no price for 'gpt-4o' of mine that begins at"
                " 2026-01-01T00:00:00Z; `runtide prices list --all --csv` shows all with"
                " their origin."
            ),
        ),
        (
            ["list", "gpt-4o", "gpt-9"],
            (
                "No run carries 'gpt-9', and no price is known for it; `runtide prices"
                " list --all` lists the models that have one."
            ),
        ),
        (
            ["list", "--all", "gpt-9"],
            (
                "No run carries 'gpt-9', and no price is known for it; `runtide prices"
                " list --all` lists the models that have one."
            ),
        ),
        (["list", "\udcff"], f"MODEL is '\\udcff', {NO_NAME}"),
        (["list", "--at", ""], f"--at is '', {AN_INSTANT}"),
        (
            ["list", "--csv"],
            ("--csv prints every single price; say --all with it, and leave --json out."),
        ),
        (
            ["list", "--all", "--json", "--at", "2026-01-01"],
            (
                "--all with --json or --csv prints prices with their whole history; leave"
                " --at out."
            ),
        ),
        (["import", "/nowhere.csv"], "There is no file /nowhere.csv."),
        (["import", "/"], "/ cannot be read: Is a directory."),
        (
            ["check", "gpt-4o"],
            (
                "There is no file gpt-4o, and of a model the price is missing: --input,"
                " --cached-input or --output."
            ),
        ),
        (["check", "--input", "1"], "Name the model whose price is to be checked."),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence_and_nothing_is_written(
    runtide: Runtide, engine: Engine, arguments: list[str], sentence: str
) -> None:
    assert runtide("prices", *arguments) == (2, "", f"runtide: {sentence}\n")
    assert own_prices(engine) == []


def test_a_database_that_is_away_is_told(
    runtide: Runtide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "away.toml"
    path.write_text('[database]\nurl = "postgresql://me:secret@127.0.0.1:1/runs"\n')

    assert run(["prices", "list", "--config", str(path)]) == 1

    assert capsys.readouterr() == (
        "",
        (
            "runtide: The database at postgresql://me:***@127.0.0.1:1/runs cannot be"
            ' reached: connection failed: connection to server at "127.0.0.1", port 1'
            " failed: Connection refused. Check that it runs and that [database] url or"
            " RUNTIDE_DATABASE_URL is right.\n"
        ),
    )


def test_a_database_without_runs_is_answered_too(
    runtide: Runtide, database_url: str, tmp_path: Path
) -> None:
    with opened(database_url) as engine:
        (tmp_path / "config.toml").write_text(
            f'[database]\nurl = "{as_text(engine.url)}"\n'
        )
        assert runtide("prices", "list").out == (
            "No run names a model yet; `runtide prices list --all` shows every price.\n"
        )
        assert runtide("prices", "check").code == 0
        assert query(engine, "SELECT count(*) FROM run_sync.sources") == [(0,)]


def test_a_check_of_a_file_takes_no_provider(runtide: Runtide, house: str) -> None:
    told = (
        "runtide: --provider azure says whose price a MODEL gets; a file names the provider"
        " in each line, and a check of everything looks at all.\n"
    )

    assert runtide("prices", "check", house, "--provider", "azure") == (2, "", told)
    assert runtide("prices", "check", "--provider", "azure") == (2, "", told)
