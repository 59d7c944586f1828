"""`runtide db grant`: what it says, and whom it refuses."""

import psycopg
import pytest
from sqlalchemy.engine import URL

from tests.conftest import as_text
from tests.integration.role_server import Call, OwnedDatabase, granted


def test_a_role_without_a_password_is_told_so_and_gets_one_later(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    first = as_role("db", "grant", "reader", name)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        owned.run("SELECT 1", role=name)
    granted(as_role, "reader", name)

    assert first == (
        0,
        (
            f"Role {name} is made and may read the run history, and write nothing.\n"
            "It has no password; --password-env VAR sets one.\n"
        ),
        "",
    )
    assert owned.run("SELECT 1", role=name) == [(1,)]


def test_a_variable_without_a_password_changes_nothing(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    answer = as_role("db", "grant", "reader", name, "--password-env", "NO_SUCH_VARIABLE")

    assert answer == (
        2,
        "",
        (
            "runtide: The environment variable NO_SUCH_VARIABLE, which holds the role's"
            " password, is not set; set it.\n"
        ),
    )
    assert (name,) not in owned.run("SELECT rolname::text FROM pg_roles")


def test_roles_that_may_do_everything_anyway_are_refused(
    as_role: Call, owned: OwnedDatabase, name: str, tcp_server: URL
) -> None:
    as_superuser = as_text(tcp_server.set(database=owned.address.database))
    with psycopg.connect(as_superuser) as admin:
        admin.execute(f"CREATE ROLE {name}".encode())
        admin.execute(f"GRANT {owned.owner} TO {name}".encode())

    sentences = [
        granted(as_role, "reader", owned.owner),
        granted(as_role, "reader", "postgres"),
        granted(as_role, "writer", name),
    ]

    rest = "and may do everything already; name another role.\n"
    assert sentences == [
        (2, "", f"runtide: {owned.owner} owns the tables {rest}"),
        (2, "", f"runtide: postgres is a superuser {rest}"),
        (
            2,
            "",
            f"runtide: {name} is a member of {owned.owner}, who owns the tables, {rest}",
        ),
    ]


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32, "a\nb"])
def test_a_name_that_postgres_would_change_is_refused(as_role: Call, name: str) -> None:
    code, out, err = granted(as_role, "reader", name)

    assert (code, out) == (2, "")
    assert err.endswith(
        " cannot be a role: its name needs 1 to 63 bytes without control characters.\n"
    )


def test_a_name_that_means_everybody_is_refused(
    as_role: Call, owned: OwnedDatabase
) -> None:
    code, _, err = granted(as_role, "reader", "public")

    assert code == 1
    assert err.endswith(' refused: role name "public" is reserved.\n')


def test_who_does_not_own_the_tables_cannot_give_rights(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(as_role, "writer", name)

    answer = as_role("db", "grant", "reader", "somebody", role=name)

    assert answer == (
        1,
        "",
        (
            f"runtide: The tables belong to {owned.owner}, and {name} cannot give rights on"
            f" them away; connect as {owned.owner}.\n"
        ),
    )


def test_a_right_that_only_the_databases_owner_can_give_is_named(
    as_role: Call, owned: OwnedDatabase, name: str, tcp_server: URL
) -> None:
    database = owned.address.database
    as_superuser = as_text(tcp_server.set(database=database))
    with psycopg.connect(as_superuser) as admin:
        admin.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC".encode())

    by_owner = granted(as_role, "writer", name)
    by_superuser = as_role("db", "grant", "writer", name, url=as_superuser)

    assert by_owner == (
        1,
        "",
        (
            f"runtide: Role {name} lacks TEMPORARY on the database {database}, which only"
            f' its owner can give: GRANT TEMPORARY ON DATABASE "{database}" TO "{name}".\n'
        ),
    )
    assert by_superuser[0] == 0
    assert owned.run(
        f"SELECT has_database_privilege('{name}', '{database}', 'TEMPORARY')"
    ) == [(True,)]
