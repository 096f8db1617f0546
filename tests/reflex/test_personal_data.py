from __future__ import annotations

import pytest

from orchestai.config.reflex import SecretsConfig
from orchestai.reflex.pii import ALL_KINDS, FORMED, PiiFinder
from orchestai.reflex.redact import Piece, Redactor, restore
from orchestai.reflex.secret_patterns import SecretFinder
from orchestai.reflex.validators import entropy_bits, is_card_number, is_iban, is_ip_address, is_ssn


@pytest.fixture(scope="module")
def finder() -> PiiFinder:
    return PiiFinder(FORMED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Mail to jo.doe+x@mail.example.co.uk, now", "EMAIL", "jo.doe+x@mail.example.co.uk"),
        ("card 4111-1111-1111-1111 please", "CREDIT_CARD", "4111-1111-1111-1111"),
        ("IBAN GB82 WEST 1234 5698 7654 32 is mine", "IBAN", "GB82 WEST 1234 5698 7654 32"),
        ("de89370400440532013000", "IBAN", "de89370400440532013000"),
        ("SSN 536-22-8731.", "SSN", "536-22-8731"),
        ("host 10.20.30.40, up", "IP_ADDRESS", "10.20.30.40"),
        ("at 2001:db8::8a2e:370:7334 it", "IP_ADDRESS", "2001:db8::8a2e:370:7334"),
        ("see https://example.org/a?b=1.", "URL", "https://example.org/a?b=1"),
        ("call +49 (0)30 1234-567", "PHONE", "+49 (0)30 1234-567"),
        ("phone: 030 123456", "PHONE", "030 123456"),
        ("my driver's license is F162823540116", "DRIVER_LICENSE", "F162823540116"),
    ],
)
def test_data_with_a_form_is_found(finder: PiiFinder, text: str, kind: str, value: str) -> None:
    assert [(each.kind, text[each.start : each.end]) for each in finder.find(text)] == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112",
        "GB82WEST12345698765433",
        "SSN 000-22-8731",
        "version 300.1.2.3",
        "at 10:30:15 sharp",
        "on 12/11/2024 or 2024-11-12",
        "12 000 000 people, 3.141592653 or 1,234,567.89",
        "rows 1 2 3 4",
        "a @ b . c",
        "See chapter 12.3.4 and page 100-120",
    ],
)
def test_what_only_looks_like_it_stays(finder: PiiFinder, text: str) -> None:
    assert finder.find(text) == []


def test_both_engines_find_the_same() -> None:
    text = "Ann, a@b.org, +49 30 1234567, 4111 1111 1111 1111, GB82WEST12345698765432, 10.0.0.1, www.x.org/y"
    found = [PiiFinder(FORMED, engine).find(text) for engine in ("hyperscan", "python")]  # type: ignore[arg-type]
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_the_tagger_finds_names_and_keeps_off_confirmed_forms() -> None:
    text = "My name is Maria Lang and my card is 4111 1111 1111 1111."
    found = [(each.kind, text[each.start : each.end]) for each in PiiFinder(ALL_KINDS).find(text)]
    assert found == [("PERSON", "Maria Lang"), ("CREDIT_CARD", "4111 1111 1111 1111")]


def test_validators_by_hand() -> None:
    assert is_card_number("4539 1488 0343 6467")
    assert not is_card_number("4539 1488 0343 6468")
    assert not is_card_number("0000 0000 0000 0000")
    assert is_iban("DE89 3704 0044 0532 0130 00")
    assert not is_iban("DE89 3704 0044 0532 0130 01")
    assert not is_iban("DE8937040044053201300")
    assert is_ssn("536-22-8731")
    assert not is_ssn("666-22-8731")
    assert is_ip_address("::1")
    assert not is_ip_address("1.2.3")
    assert entropy_bits("aaaa") == 0
    assert entropy_bits("abcd") == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key sk-proj-" + "Ab1" * 10, "sk-proj-" + "Ab1" * 10),
        ("AKIAABCDEFGH12345678 in prod", "AKIAABCDEFGH12345678"),
        ("password = hunter2-Xy7!pq", "hunter2-Xy7!pq"),
        ('"api_key": "9f8e7d6c5b4a3210"', "9f8e7d6c5b4a3210"),
        ("DB_PASSWORD=Zq8#kd0Lm2pX", "Zq8#kd0Lm2pX"),
        ("Authorization: Bearer " + "abcDEF123_" * 3, "abcDEF123_" * 3),
        ("amqp://svc:p4ssw0rd@queue:5672", "p4ssw0rd"),
    ],
)
def test_secrets_are_found(text: str, value: str) -> None:
    assert value in [each.text for each in SecretFinder(SecretsConfig()).find(text)]


def test_a_private_key_goes_as_a_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/abc\nAAAA==\n-----END RSA PRIVATE KEY-----"
    assert [each.text for each in SecretFinder(SecretsConfig()).find(f"Use\n{key}\nplease")] == [key]
    assert SecretFinder(SecretsConfig()).find("-----BEGIN RSA PRIVATE KEY-----\nMIIEow")  # even when it is cut off


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password: by mail?",
        "The token is expired",
        "password: correcthorsebattery",
        "API_KEY=${OPENAI_API_KEY}",
        "secret = os.environ['SECRET_VALUE_1']",
        "A skipped task-list",
    ],
)
def test_words_are_no_secrets(text: str) -> None:
    assert SecretFinder(SecretsConfig()).find(text) == []


def test_a_secret_wins_over_what_overlaps_it() -> None:
    redactor = Redactor(["abcdef"])
    clean = redactor.redact("abcdef", [Piece("EMAIL", 0, 6), Piece("SECRET", 2, 4)])
    assert clean == "ab<SECRET_1>ef"
    assert redactor.values(["EMAIL", "SECRET"]) == {}


def test_a_value_that_looks_like_a_placeholder_is_not_replaced_again() -> None:
    assert restore("<A_1> <B_1>", {"<A_1>": "<B_1>", "<B_1>": "x"}) == "<B_1> x"
