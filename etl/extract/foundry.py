"""Sources of kind `foundry`: what Azure AI Foundry's agent service says differently.

Its runs are listed as OpenAI's are (`OpenAISource` walks them); its headers, its key
and its list of threads (`ThreadList`) are its own. Source: Azure/azure-rest-api-specs,
specification/ai/Azure.AI.Agents.
"""

from etl.extract.failures import Refusal

HEADERS = {"Accept": "application/json"}
"""There is no OpenAI-Beta here: the version stands in the query."""

ROLE = "give the identity the role Foundry User on the project"

OF_A_READY_TOKEN = Refusal(
    what="the access token",
    unauthorized=(
        "set the variable that api_key_env names anew (an access token lives about an"
        " hour), or leave it out and let runtide ask for tokens itself"
    ),
    forbidden=ROLE,
)

OF_ENTRA = Refusal(
    what="the access token of Microsoft Entra",
    unauthorized="check tenant_id and scope in [sources.entra]",
    forbidden=ROLE,
)


def query_of(api_version: str) -> dict[str, str]:
    """What stands in the query of every request."""
    return {"api-version": api_version}
