"""Prices as people write them: on the command line, in CSV and in JSON."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.analytics.prices.files import as_csv, as_objects, read_prices
from etl.analytics.prices.price import KINDS, Price, amount, moment
from etl.domain.errors import ConfigError

HEADING = "provider,model,token_kind,usd_per_million,effective_from"
A_ROW = "openai,gpt-4o,input,2.50,2026-06-01"
A_PRICE = Price(
    provider="openai",
    model="gpt-4o",
    token_kind="input",
    usd_per_million=Decimal("2.50"),
    effective_from=datetime(2026, 6, 1, tzinfo=UTC),
)
AN_OBJECT = {
    "provider": "openai",
    "model": "gpt-4o",
    "token_kind": "input",
    "usd_per_million": "2.50",
    "effective_from": "2026-06-01",
}
EXPECTED = "expected US dollars for a million tokens as a plain number such as 2.50"


def refusal(content: str | bytes) -> str:
    """What is said against a file, after its name."""
    encoded = content.encode() if isinstance(content, str) else content
    with pytest.raises(ConfigError) as caught:
        read_prices(encoded, "prices.csv")
    return str(caught.value).removeprefix("prices.csv")


def of_one(**texts: object) -> str:
    return json.dumps([AN_OBJECT | texts])


# Amounts and instants --------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["0", "2", "2.50", ".15", "2.", "0.0001", "0.000123456789", "100000"]
)
def test_an_amount_is_taken_as_it_is_written(text: str) -> None:
    assert amount(text, "--input") == Decimal(text)
    assert str(amount(text, "--input")).rstrip(".") == str(Decimal(text)).rstrip(".")


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", "it is empty"),
        (" 2", "there are spaces around it"),
        ("2\n", "there are spaces around it"),
        ("$2.50", "leave the currency out"),
        ("2.50 USD", "leave the currency out"),
        ("€2", "leave the currency out"),
        ("50%", "a percentage is no price"),
        ("1,250.00", "write a decimal point, and leave thousands separators out"),
        ("2,5", "write a decimal point, and leave thousands separators out"),
        ("-1", "it is negative"),
        ("-0", "it is negative"),
        ("-inf", "it is negative"),
        ("2.5e-06", "it has an exponent; is it the price of one token?"),
        ("1E9", "it has an exponent; is it the price of one token?"),
        ("NaN", "it is no such number"),
        ("inf", "it is no such number"),
        ("Infinity", "it is no such number"),
        ("1_000", "it is no such number"),
        ("+1", "it is no such number"),
        (".", "it is no such number"),
        ("1 250", "it is no such number"),
        ("٣", "it is no such number"),
        ("0x10", "it is no such number"),
        ("9" * 13, "it is no such number"),
        ("100000.01", "it is more than 100,000"),
        ("0.0000025", "it is less than 0.0001; is it the price of one token?"),
        ("0.1234567890123", "it has more than 12 decimals"),
    ],
)
def test_an_amount_that_is_none_is_refused_with_the_reason(text: str, flaw: str) -> None:
    with pytest.raises(ConfigError) as caught:
        amount(text, "--input")

    assert str(caught.value) == f"--input is {text!r}, {EXPECTED} ({flaw})."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-06-01", "2026-06-01T00:00:00+00:00"),
        ("1970-01-01", "1970-01-01T00:00:00+00:00"),
        ("2026-06-01T12:30", "2026-06-01T12:30:00+00:00"),
        ("2026-06-01 12:30:15", "2026-06-01T12:30:15+00:00"),
        ("2026-06-01T12:30:15.000001Z", "2026-06-01T12:30:15.000001+00:00"),
        ("2026-06-01T12:00:00+02:00", "2026-06-01T10:00:00+00:00"),
        ("2026-01-01T01:00-05:00", "2026-01-01T06:00:00+00:00"),
    ],
)
def test_an_instant_is_utc_unless_it_has_an_offset(text: str, told: str) -> None:
    assert moment(text, "--from").isoformat() == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "20260601",
        "2026-W23",
        "2026-6-1",
        "01.06.2026",
        "2026-02-30",
        "2026-06-01T25:00",
        "2026-06-01T12:00:00.0000001",
        "2026-06-01+02:00",
        "1969-12-31",
        "1970-01-01T00:00+01:00",
        "2100-01-01",
        "2026-06-01\n",
        "٢٠٢٦-06-01",
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        moment(text, "--from")

    assert str(caught.value) == (
        f"--from is {text!r}, expected a day such as 2026-06-01 or an instant such as"
        " 2026-06-01T12:00:00Z, from 1970 to 2099."
    )


# What is read ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADING}\n{A_ROW}\n",
        f"{HEADING}\n{A_ROW}",
        f"\ufeff{HEADING}\r\n{A_ROW}\r\n",
        f"{HEADING}\r{A_ROW}\r",
        f"\n\n{HEADING}\n\n  \n,,,,\n{A_ROW}\n\n",
        f'{HEADING}\n"openai", gpt-4o ,"input","2.50",2026-06-01T00:00:00Z\n',
        (
            "model,effective_from,usd_per_million,token_kind,provider\n"
            "gpt-4o,2026-06-01,2.50,input,openai\n"
        ),
        json.dumps([AN_OBJECT]),
        "\ufeff \r\n" + json.dumps([AN_OBJECT], indent=4),
        json.dumps([AN_OBJECT]).replace('"2.50"', "2.50"),
        f"{HEADING},origin\n{A_ROW},user\n",
        f"{HEADING},origin\n{A_ROW},\n",
    ],
)
def test_a_price_is_read_however_the_file_was_saved(content: str) -> None:
    assert read_prices(content.encode(), "prices.csv") == [A_PRICE]


def test_numbers_of_json_stay_exact() -> None:
    content = json.dumps([AN_OBJECT]).replace('"2.50"', "0.100000000001")

    [price] = read_prices(content.encode(), "prices.json")

    assert price.usd_per_million == Decimal("0.100000000001")


NAMES = st.text(
    st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20
).filter(str.isprintable)
PRICES = st.builds(
    Price,
    provider=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
    model=NAMES,
    token_kind=st.sampled_from(KINDS),
    usd_per_million=st.decimals(min_value=1, max_value=100_000, places=12),
    effective_from=st.datetimes(
        min_value=datetime(1970, 1, 1),  # noqa: DTZ001  # Hypothesis adds the zone
        max_value=datetime(2099, 12, 31),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    origin=st.sampled_from(["user", "genai-prices 0.2.3"]),
)


@given(
    st.lists(PRICES, min_size=1, max_size=4, unique_by=lambda each: (each.key, each.origin))
)
def test_what_is_written_is_read_again(prices: list[Price]) -> None:
    assert read_prices(as_csv(prices).encode(), "x") == prices
    assert read_prices(json.dumps(as_objects(prices)).encode(), "x") == prices


# What is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # the file as a whole
        ("", f" is empty; expected the heading {HEADING}, or JSON."),
        ("\ufeff\r\n \n", f" is empty; expected the heading {HEADING}, or JSON."),
        (f"{HEADING}\n\n", " holds no prices."),
        ("[]", " holds no prices."),
        (
            HEADING.encode() + b"\nopenai,gpt-\xff",
            ", line 2: this is not UTF-8; save the file as UTF-8.",
        ),
        (
            f"{HEADING}\n{A_ROW}".encode("utf-16"),
            ", line 1: this is not UTF-8; save the file as UTF-8.",
        ),
        # the heading
        (
            f"{HEADING}\n{A_ROW}".replace(",", ";"),
            (", line 1: the fields are separated by semicolons; separate them by commas."),
        ),
        (A_ROW, f", line 1: the heading is {A_ROW!r}, expected {HEADING}."),
        (
            f"{HEADING},model\n",
            f", line 1: the heading is '{HEADING},model', expected {HEADING}.",
        ),
        (
            f"{HEADING},note\n",
            f", line 1: the heading is '{HEADING},note', expected {HEADING}.",
        ),
        (
            "provider,model\n",
            f", line 1: the heading is 'provider,model', expected {HEADING}.",
        ),
        # the lines
        (
            f"{HEADING}\nopenai,gpt-4o,input,1,250.00,2026-06-01",
            (
                ", line 2: expected 5 fields as in the heading, found 6; a comma within"
                " a field needs quotes around it."
            ),
        ),
        (
            f'{HEADING}\nopenai,gpt-4o,input,"1,250.00",2026-06-01',
            (
                f", line 2: usd_per_million is '1,250.00', {EXPECTED} (write a decimal"
                " point, and leave thousands separators out)."
            ),
        ),
        (
            f"{HEADING}\n\n{A_ROW}\r\nopenai,gpt-4o,output,$10,2026-06-01",
            f", line 4: usd_per_million is '$10', {EXPECTED} (leave the currency out).",
        ),
        (
            f"{HEADING}\nopenai,gpt-4o,cached,1,2026-06-01",
            (", line 2: token_kind is 'cached', expected input, cached_input or output."),
        ),
        (
            f"{HEADING}\nopen ai,gpt-4o,input,1,2026-06-01",
            (
                ", line 2: provider is 'open ai', expected 1 to 64 letters, digits, dots,"
                " dashes or underscores."
            ),
        ),
        (
            f"{HEADING}\nopenai,,input,1,2026-06-01",
            (
                ", line 2: model is '', expected 1 to 200 characters that can be printed,"
                " without spaces around them."
            ),
        ),
        (
            f"{HEADING}\nopenai,gpt\0,input,1,2026-06-01",
            (
                ", line 2: model is 'gpt\\x00', expected 1 to 200 characters that can be"
                " printed, without spaces around them."
            ),
        ),
        (
            f"{HEADING}\nopenai,gpt-4o,input,1,06/01/2026",
            (
                ", line 2: effective_from is '06/01/2026', expected a day such as"
                " 2026-06-01 or an instant such as 2026-06-01T12:00:00Z, from 1970 to"
                " 2099."
            ),
        ),
        (
            f"{HEADING}\n{A_ROW}\n\nopenai,gpt-4o,input,3,2026-06-01T02:00+02:00",
            (
                ", line 4: this is the price of line 2 again (openai, gpt-4o, input, from"
                " 2026-06-01); leave one of them out."
            ),
        ),
        (
            f'{HEADING}\n"openai"x,gpt-4o',
            """, line 2: this is not CSV (',' expected after '"').""",
        ),
        (f'{HEADING}\n"openai', ", line 2: this is not CSV (unexpected end of data)."),
        (
            f"{HEADING}\na\n{A_ROW}\nopenai,gpt-4o,x,1,2026-06-01",
            (
                ", line 2: expected 5 fields as in the heading, found 1; a comma within"
                " a field needs quotes around it. One more entry is wrong, too."
            ),
        ),
        (
            f"{HEADING}\na\nb\nc",
            (
                ", line 2: expected 5 fields as in the heading, found 1; a comma within"
                " a field needs quotes around it. 2 more entries are wrong, too."
            ),
        ),
        # JSON
        ('{"a": 1}', " is one JSON object, expected a list of objects."),
        (
            '[{"provider": "openai",\n]',
            (
                ", line 2: this is not JSON (Expecting property name enclosed in double"
                " quotes)."
            ),
        ),
        ("[" * 100_000, " is nested too deeply to be a list of prices."),
        ("[1]", f", entry 1: this is no object; expected the keys {HEADING}."),
        (
            json.dumps([AN_OBJECT, {"provider": "openai"}]),
            f", entry 2: model is missing; expected the keys {HEADING}.",
        ),
        (of_one(note=""), f", entry 1: 'note' is unknown; expected the keys {HEADING}."),
        (of_one(model=5), ", entry 1: model is not one text in quotes."),
        (
            of_one(usd_per_million=None),
            ", entry 1: usd_per_million is not one text in quotes.",
        ),
        (
            of_one(usd_per_million=True),
            ", entry 1: usd_per_million is not one text in quotes.",
        ),
        (
            of_one(usd_per_million=float("nan")),
            f", entry 1: usd_per_million is 'NaN', {EXPECTED} (it is no such number).",
        ),
        (
            of_one(usd_per_million=-1),
            f", entry 1: usd_per_million is '-1', {EXPECTED} (it is negative).",
        ),
        (
            json.dumps([AN_OBJECT]).replace('"2.50"', "1e999999999"),
            (
                f", entry 1: usd_per_million is '1e999999999', {EXPECTED} (it has an"
                " exponent; is it the price of one token?)."
            ),
        ),
        (
            json.dumps([AN_OBJECT]).replace('"model"', '"provider"', 1),
            f", entry 1: model is missing; expected the keys {HEADING}.",
        ),
        (
            json.dumps([AN_OBJECT])[:-2] + ', "model": "o1"}]',
            ", entry 1: model is not one text in quotes.",
        ),
        (
            json.dumps([AN_OBJECT, AN_OBJECT | {"usd_per_million": "3"}]),
            (
                ", entry 2: this is the price of entry 1 again (openai, gpt-4o, input,"
                " from 2026-06-01); leave one of them out."
            ),
        ),
    ],
)
def test_a_file_is_refused_in_one_sentence_that_names_the_place(
    content: str | bytes, said: str
) -> None:
    assert refusal(content) == said


@given(st.binary(max_size=300))
def test_whatever_a_file_holds_there_is_a_sentence_or_there_are_prices(
    content: bytes,
) -> None:
    heading = f"{HEADING}\n".encode()

    for each in (content, heading + content, b"[" + content):
        with suppress(ConfigError):
            assert read_prices(each, "prices.csv")
