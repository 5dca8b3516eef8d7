"""Patterns of ``live_hosts``, and the addresses that they allow."""

from __future__ import annotations

import pytest

from timetracer_otel.base.hosts import Address, Hosts, address_of_url


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("db.internal", ["db.internal:5432", "DB.internal", "db.internal:1"], ["x.db.internal:1", "db.internal.x"]),
        ("*.internal", ["db.internal:5432", "a.b.internal:1"], ["internal:1", "db.internal.x:1"]),
        ("db.internal:5432", ["db.internal:5432"], ["db.internal:5433", "db.internal"]),
        ("*:6379", ["cache:6379", "10.0.0.1:6379", "[::1]:6379"], ["cache:6380"]),
        ("10.0.0.0/8", ["10.1.2.3:80", "10.1.2.3", "[::ffff:10.0.0.9]:1"], ["11.0.0.1:80", "ten.internal:80"]),
        ("fd00::/8", ["[fd00::1]:80"], ["[fe80::1]:80", "10.0.0.1:80"]),
        ("::1", ["[::1]:80", "::1"], ["[::2]:80"]),
        ("[::1]:80", ["[::1]:80"], ["[::1]:81"]),
        ("localhost", ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"], ["10.0.0.1:1", "localhost.x:1"]),
        ("localhost:5432", ["127.0.0.1:5432"], ["127.0.0.1:5433"]),
        ("127.0.0.0/8", ["localhost:80", "127.0.0.1:80"], ["10.0.0.1:80"]),
        ("/var/run/docker.sock", ["/var/run/docker.sock"], ["/var/run/other.sock", "docker.sock:1"]),
        ("/tmp/*", ["/tmp/pg/.s.PGSQL.5432"], ["/var/tmp/x", "tmp:1"]),
        ("@bus*", ["@bus-1"], ["bus-1:1"]),
        ("*", ["anything:1", "10.0.0.1:80"], ["/a/socket"]),
    ],
)
def test_a_pattern_allows_what_it_says_and_nothing_else(pattern: str, allowed: list[str], refused: list[str]) -> None:
    hosts = Hosts([pattern])
    assert [text for text in allowed if not hosts.allow(Address.parsed(text))] == []
    assert [text for text in refused if hosts.allow(Address.parsed(text))] == []


@pytest.mark.parametrize("pattern", ["", "10.0.0.0/99", "a/b", "a:b:c", "host:http", "a b", "db:-1"])
def test_what_is_no_pattern_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Hosts([pattern])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a/x", "a:80"),
        ("https://user:secret@a/x?y", "a:443"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("redis://cache:6379/0", "cache:6379"),
        ("unix:///var/run/redis.sock?db=0", "/var/run/redis.sock"),
        ("unix:///tmp/pg/.s.PGSQL.5432", "/tmp/pg/.s.PGSQL.5432"),
        ("postgresql://db:5432", "db:5432"),
        ("sqlite:///x.db", None),
        ("no url", None),
        ("http://[broken/", None),
    ],
)
def test_the_address_of_a_url(url: str, address: str | None) -> None:
    found = address_of_url(url)
    assert (None if found is None else str(found)) == address


def test_a_name_may_be_looked_up_before_its_port_is_known() -> None:
    hosts = Hosts(["db.internal:5432"])
    assert not hosts.allow(Address("db.internal"))
    assert hosts.allow(Address("db.internal"), any_port=True)
    assert not hosts.allow(Address("other.internal"), any_port=True)


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("a:80", "a", "[::1]:80", "::1", "/a/b", "@a"):
        assert str(Address.parsed(text)) == text
    assert Address.parsed("\0abstract").host == "@abstract"
