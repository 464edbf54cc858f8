"""What a URL of several hosts says of each."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import SSLConnection

from tally.redis_urls import Parts, parts_of
from tally.settings import without_password
from tally.store.client import connect


def test_one_server_is_itself() -> None:
    assert parts_of("redis://:a,b@host/1?x=1,2") == Parts("server", ("redis://:a,b@host/1?x=1,2",))


def test_what_is_said_once_is_so_for_every_node() -> None:
    assert parts_of("rediss+cluster://u:p,w@a:7000,[::1]:7001?client_name=t") == Parts(
        "cluster", ("rediss://u:p,w@a:7000?client_name=t", "rediss://u:p,w@[::1]:7001?client_name=t")
    )


def test_the_sentinels_have_a_user_of_their_own_if_that_is_said() -> None:
    url = "redis+sentinel://u:p@a:26379,b/my%20master/3?sentinel_username=s&client_name=t&sentinel_password=%26+x"
    assert parts_of(url) == Parts(
        "sentinel",
        ("redis://u:p@a:26379/3?client_name=t", "redis://u:p@b/3?client_name=t"),
        "my master",
        (("username", "s"), ("password", "& x")),
    )


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_of_sentinels_the_client_knows_where_whom_and_as_whom_to_ask(scheme: str) -> None:
    url = f"{scheme}+sentinel://u:p@a,b:26380/name/3?sentinel_password=x"
    pool: Any = connect(
        url, timeout_seconds=9, tls={"ssl_ca_certs": "ca.pem"} if scheme == "rediss" else None
    ).connection_pool
    assert pool.service_name == "name"
    of_server = pool.connection_kwargs
    assert (of_server["username"], of_server["password"], of_server["db"]) == ("u", "p", 3)
    asked = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    assert [(each.connection_kwargs["host"], each.connection_kwargs["port"]) for each in asked] == [
        ("a", 26379),
        ("b", 26380),
    ]
    for each in asked:
        assert (each.connection_kwargs["username"], each.connection_kwargs["password"]) == ("u", "x")
        assert "db" not in each.connection_kwargs or not each.connection_kwargs["db"]
        assert issubclass(each.connection_class, SSLConnection) == (scheme == "rediss")
    assert issubclass(pool.connection_class, SSLConnection) == (scheme == "rediss")
    if scheme == "rediss":
        assert of_server["ssl_ca_certs"] == asked[0].connection_kwargs["ssl_ca_certs"] == "ca.pem"


def test_what_is_shown_has_all_hosts_and_no_password() -> None:
    shown = without_password("redis+sentinel://u:pa55@a:1,b:2/name?sentinel_password=pa55")
    assert shown == "redis+sentinel://u:***@a:1,b:2/name?sentinel_password=***"
    assert without_password("redis+cluster://a:1,b:2") == "redis+cluster://a:1,b:2"
