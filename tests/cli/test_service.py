"""`orchestai token` and the refusals of `orchestai serve`."""

from __future__ import annotations

import socket

from orchestai.service.tokens import digest_of


def test_a_token_is_made_listed_and_revoked(cli):
    made = cli("token", "create", "ci", "--tenant", "acme", "--scopes", "run, approve", "--rate", 60, "--budget-usd", 5)
    assert made.code == 0
    secret = made.out.strip()
    assert secret.startswith("orc_")
    assert secret not in made.err
    listed = cli("token", "list", "--json").json
    assert [(token["name"], token["tenant"], token["scopes"]) for token in listed] == [
        ("ci", "acme", ["run", "approve"])
    ]
    assert (listed[0]["rate_per_minute"], listed[0]["budget_usd_per_day"]) == (60, 5.0)
    assert digest_of(secret) not in cli("token", "list", "--json").out
    assert "acme" in cli("token", "list").out
    again = cli("token", "create", "ci")
    assert again.code == 2
    assert "There is a token called 'ci'" in again.err
    assert cli("token", "revoke", "ci").code == 0
    gone = cli("token", "revoke", "ci")
    assert (gone.code, "no token called 'ci'" in gone.err) == (2, True)
    assert "no token" in cli("token", "list").err


def test_a_token_that_cannot_be_made(cli):
    for arguments, wrong in (
        (["a b"], "name"),
        (["ci", "--scopes", "fly"], "scopes"),
        (["ci", "--tenant", ""], "tenant"),
    ):
        refused = cli("token", "create", *arguments)
        assert refused.code == 2
        assert f"`{wrong}`" in refused.err


def test_an_open_door_to_others_is_refused(cli):
    refused = cli("serve", "--host", "0.0.0.0", "--port", 0)
    assert refused.code == 2
    assert "orchestai token create" in refused.err


def test_a_taken_port_is_named(cli):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused = cli("serve", "--port", port)
    assert refused.code == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in refused.err
