"""Views that join runs with their tools and unnest their resources."""

from alembic import op

revision = "0003"
down_revision = "0002"

COMMENTS = {
    "VIEW run_history.run_tools": "One row per run and tool.",
    "COLUMN run_history.run_tools.source_id": "Where the run was read.",
    "COLUMN run_history.run_tools.run_id": "The run.",
    "COLUMN run_history.run_tools.thread_id": "The run's thread.",
    "COLUMN run_history.run_tools.created_at": "When the run was created.",
    "COLUMN run_history.run_tools.position": "The tool's place in the list, from 0.",
    "COLUMN run_history.run_tools.tool_type": "The tool's type.",
    "COLUMN run_history.run_tools.function_name": "The function's name.",
    "COLUMN run_history.run_tools.description": "The function's description.",
    "COLUMN run_history.run_tools.strict": "Whether arguments follow the schema.",
    "COLUMN run_history.run_tools.parameters": "The function's parameters.",
    "COLUMN run_history.run_tools.settings": "Every other part of the tool.",
    "VIEW run_history.run_resources": "One row per run and file or vector store.",
    "COLUMN run_history.run_resources.source_id": "Where the run was read.",
    "COLUMN run_history.run_resources.run_id": "The run.",
    "COLUMN run_history.run_resources.thread_id": "The run's thread.",
    "COLUMN run_history.run_resources.created_at": "When the run was created.",
    "COLUMN run_history.run_resources.resource_type": "file or vector_store.",
    "COLUMN run_history.run_resources.resource_id": "The file's or store's id.",
}


def upgrade() -> None:
    op.execute(
        """
        CREATE VIEW run_history.run_tools AS
        SELECT r.source_id, r.run_id, r.thread_id, r.created_at, t.position,
               t.tool_type, t.function_name, t.description, t.strict, t.parameters,
               t.settings
        FROM run_history.runs r
        JOIN run_history.tools t USING (tool_set_id)
        """
    )
    op.execute(
        """
        CREATE VIEW run_history.run_resources AS
        SELECT r.source_id, r.run_id, r.thread_id, r.created_at,
               resource.resource_type, resource.resource_id
        FROM run_history.runs r
        CROSS JOIN LATERAL (
            SELECT 'file' AS resource_type, unnest(r.code_interpreter_file_ids)
            UNION ALL
            SELECT 'vector_store', unnest(r.file_search_vector_store_ids)
        ) AS resource (resource_type, resource_id)
        """
    )
    for target, comment in COMMENTS.items():
        op.execute(f"COMMENT ON {target} IS '{comment.replace(chr(39), chr(39) * 2)}'")


def downgrade() -> None:
    op.execute("DROP VIEW run_history.run_resources")
    op.execute("DROP VIEW run_history.run_tools")
