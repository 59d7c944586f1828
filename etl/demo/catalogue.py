"""The cast of the demo world: its assistants, customers and mishaps."""

import json

from etl.demo.assistant import Argument, Assistant, Function

_ORDER = Argument(
    "order_id", "string", "Number of the order, without the #", ("48213", "50112")
)
_EMAIL = Argument(
    "email", "string", "The customer's address", ("mia@example.com", "jon@example.com")
)
_CITY = Argument("city", "string", "City, in English", ("Lisbon", "Kraków", "Oslo"))
_DAY = Argument("day", "string", "Day as YYYY-MM-DD", ("2026-11-24", "2026-12-01"))
_QUESTION = Argument(
    "sql", "string", "One SELECT statement", ("SELECT count(*) FROM orders", "SELECT 1")
)

_FIND_ORDER = Function(
    "find_order", "Look up one order with its items, payment and parcels.", (_ORDER,)
)
_REFUND = Function(
    "refund_order",
    "Refund an order, wholly or in part. Ask the customer to confirm first.",
    (
        _ORDER,
        Argument("amount", "number", "Amount in the order's currency", (12.5, 80.0)),
        Argument("reason", "string", "Why, in a few words", ("damaged", "late")),
    ),
)
_FIND_CUSTOMER = Function("find_customer", "Find a customer's account.", (_EMAIL,))
_FREE_SLOTS = Function(
    "free_slots", "List the free appointments of one day in one office.", (_CITY, _DAY)
)
_BOOK = Function(
    "book_slot",
    "Book an appointment and send the invitation.",
    (_CITY, _DAY, _EMAIL, Argument("hour", "integer", "0 to 23", (9, 11, 15))),
)
_WEATHER = Function(
    "weather", "Forecast for one city and one day, in metric units.", (_CITY, _DAY)
)
_QUERY = Function(
    "query_warehouse",
    "Run a read-only query; at most 200 rows come back.",
    (_QUESTION,),
)
_OPEN_TICKET = Function(
    "open_ticket",
    "Hand the conversation over to a person.",
    (
        Argument("summary", "string", "Two sentences", ("Cannot sign in since Monday.",)),
        Argument("priority", "string", "low, normal or high", ("low", "normal", "high")),
    ),
)

_TRIAGE_SCHEMA = json.dumps(
    {
        "type": "json_schema",
        "json_schema": {
            "name": "triage",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "team": {"type": "string"},
                    "urgency": {"type": "string", "enum": ["low", "normal", "high"]},
                },
                "required": ["team", "urgency"],
                "additionalProperties": False,
            },
        },
    }
)

ASSISTANTS = (
    Assistant(
        name="shop support",
        model="gpt-4o",
        instructions=(
            "You answer customers of an online shop for coffee and kitchenware. Be "
            "brief and friendly, and never promise a delivery date that is not in the "
            "order. Look the order up before you speak about it. Refund at most 100 "
            "euros by yourself; beyond that, or when the customer is upset, open a "
            "ticket for a person. Answer in the customer's language."
        ),
        functions=(_FIND_ORDER, _REFUND, _FIND_CUSTOMER, _OPEN_TICKET),
        temperature=0.4,
    ),
    Assistant(
        name="handbook",
        model="gpt-4o-mini",
        instructions=(
            "You answer employees' questions from the staff handbook. Quote the "
            "section you rely on. If the handbook does not say, say so and name the "
            "team that would know; do not guess, above all not about pay or leave."
        ),
        built_in_tools=("file_search",),
        temperature=0.2,
        last_messages=20,
    ),
    Assistant(
        name="figures",
        model="gpt-4.1",
        instructions=(
            "You are an analyst. Work out answers with code rather than by heart, show "
            "the table behind every figure, and say which rows you left out and why. "
            "Charts have axis titles with units."
        ),
        built_in_tools=("code_interpreter", "file_search"),
        functions=(_QUERY,),
    ),
    Assistant(
        name="appointments",
        model="gpt-4o-mini",
        instructions=(
            "You book appointments. Offer at most three free slots, repeat day, hour "
            "and city before you book, and book only after a clear yes."
        ),
        functions=(_FREE_SLOTS, _BOOK, _FIND_CUSTOMER),
        temperature=0.3,
        max_completion_tokens=2048,
    ),
    Assistant(
        name="contracts",
        model="o3-mini",
        instructions=(
            "You compare contracts with our standard terms. List every deviation with "
            "its clause, how much it matters, and a wording that we could accept. You "
            "do not give legal advice; a lawyer reads everything you write."
        ),
        built_in_tools=("file_search",),
        reasoning_effort="high",
    ),
    Assistant(
        name="planner",
        model="o3-mini",
        instructions=(
            "You plan delivery routes. Respect opening hours and the drivers' breaks, "
            "and explain in one sentence why a stop comes where it does."
        ),
        functions=(_WEATHER, _QUERY),
        reasoning_effort="medium",
    ),
    Assistant(
        name="triage",
        model="gpt-4.1-mini",
        instructions=(
            "Read the message and decide which team answers it: billing, technical, "
            "sales or other. Judge urgency by what happens if nobody answers today."
        ),
        temperature=0.0,
        response_schema=_TRIAGE_SCHEMA,
    ),
    Assistant(
        name="tutor",
        model="gpt-4o",
        instructions=(
            "You teach mathematics to adults. Never give the solution first: ask what "
            "was tried, give one hint at a time, and check the result with code."
        ),
        built_in_tools=("code_interpreter",),
    ),
    Assistant(
        name="travel",
        model="gpt-4o-2024-11-20",
        instructions=(
            "You help travellers of our hotels plan their stay. Suggest what suits the "
            "weather, keep walks under half an hour, and mention what has to be booked."
        ),
        functions=(_WEATHER, _BOOK),
        temperature=0.8,
        top_p=0.95,
    ),
    Assistant(
        name="release notes",
        model="gpt-4.1",
        instructions=(
            "You turn lists of changes into release notes. Write for people who use "
            "the product, not for those who build it; one sentence for each change."
        ),
        temperature=0.6,
        max_completion_tokens=4096,
    ),
    Assistant(
        name="field service",
        model="gpt-4.1-mini",
        instructions=(
            "You guide technicians through repairs of heat pumps, one step at a time, "
            "from the service manuals. Safety notes come first and word for word."
        ),
        built_in_tools=("file_search",),
        functions=(_OPEN_TICKET,),
        temperature=0.1,
    ),
    Assistant(
        name="old faithful",
        model="gpt-4-turbo",
        instructions="You are a helpful assistant.",
        temperature=0.7,
    ),
)

CUSTOMERS = (
    "Harbor Coffee",
    "Lumen Bikes",
    "Café Ångström",
    "Pinewood Clinics",
    "Orchard & Sons",
    "Delta Hydraulics",
    "木村商店",
    "Meridian Hotels",
    "Quiet Street Books",
    "Tallgrass Energy",
    "Zielona Apteka",
    "Vega Freight",
)
CHANNELS = ("web", "app", "email", "phone")
PLANS = ("free", "team", "enterprise")
PEOPLE = ("Jane Doe", "Amir Haddad", "Sofia Lindqvist", "Tomás Ribeiro", "Yuki Mori")

# Codes beyond the official three do occur: `invalid_image_url` is one of them.
ERRORS = (
    ("server_error", "Sorry, something went wrong."),
    ("rate_limit_exceeded", "Rate limit reached on tokens per min (TPM)."),
    ("server_error", "The server had an error while processing your request."),
    ("invalid_prompt", "Invalid prompt: your prompt was flagged."),
    ("invalid_image_url", "Error while downloading https://files.example.com/1.png."),
)
REFUSAL = (
    "rate_limit_exceeded",
    "Rate limit reached on requests per min (RPM). Please try again in 1s.",
)
