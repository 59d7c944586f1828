"""The privacy of a source, from its settings and the key in the environment."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection, Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.page import Payload
from etl.load.rewriting import rewrite_reject, stored_rejects
from etl.sync import Source
from etl.sync.private import PrivateSource
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
    """A source under privacy; where all is kept, only what may hold secrets is cleaned."""
    concerns = may_hold_secret if privacy.keeps_all else _everything
    return PrivateSource(source, privacy.clean, concerns)


def _everything(_: Payload) -> bool:
    return True


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
