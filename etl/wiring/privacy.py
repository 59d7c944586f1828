"""The privacy of a source, from its settings and the key in the environment."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection, Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.page import Payload
from etl.load.rewriting import rewrite_reject, stored_rejects
from etl.sync import Source
from etl.sync.private import Cleaned, PrivateSource
from etl.transform.privacy import Privacy
from etl.transform.secrets import may_hold_secret
from etl.transform.treatments import Treatment


def privacy_of(settings: Settings, source: SourceConfig) -> Privacy:
    """What is done to a source's payloads; raises ConfigError where its key is not set."""
    told = source.privacy
    return Privacy(
        instructions=Treatment(told.instructions),
        tools=Treatment(told.tools),
        tool_call_arguments=Treatment(told.tool_call_arguments),
        error_messages=Treatment(told.error_messages),
        unknown_fields=Treatment(told.unknown_fields),
        metadata=Treatment(told.metadata),
        metadata_keys={key: Treatment(each) for key, each in told.metadata_keys.items()},
        key=settings.hash_key(source) or b"",
    )


def kept_private(source: Source, privacy: Privacy) -> Source:
    """A source under privacy."""
    return PrivateSource(source, cleaning(privacy))


def cleaning(privacy: Privacy) -> Cleaned:
    """What is done to each payload; where all is kept, to those that may hold secrets."""
    keeps_all = privacy.keeps_all

    def cleaned(payload: Payload) -> Payload:
        if keeps_all and not may_hold_secret(payload):
            return payload
        told = payload.text
        text = privacy.clean(told)
        if text is told:
            return payload
        # Of ids and instants stays what was read of them before.
        return Payload(text, payload.run_id, payload.thread_id, payload.created_at)

    return cleaned


def clean_quarantine(
    engine: Engine,
    connection: Connection,
    ids: Sequence[SourceId],
    privacies: Sequence[Privacy],
) -> int:
    """Rewrite the rejects that would not be let through today; answer how many."""
    rewritten = 0
    for source_id, privacy in zip(ids, privacies, strict=True):
        for reject in stored_rejects(engine, source_id):
            cleaned = privacy.clean(reject.payload.encode()).decode()
            if cleaned != reject.payload:
                rewrite_reject(connection, reject.reject_id, cleaned)
                rewritten += 1
    return rewritten
