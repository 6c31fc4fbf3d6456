"""`UNIRANK_REDIS_URL` is checked before anything starts; the message says what is wrong and shows no password."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trustme
from app_fakes import FakeModel, app_of, settings
from server_process import free_port
from typer.testing import CliRunner

from app.commands import models
from app.entities.redis_client import connect
from app.entities.redis_url import RedisUrlError, Target, check, parse
from app.http import server

BAD = {
    "nonsense": "scheme",
    "ftp://127.0.0.1": "scheme",
    "redis:127.0.0.1": "scheme",
    "redis+senitnel://h:1/s": "scheme",
    "unix+cluster:///run/redis.sock": "scheme",
    "redis://": "host",
    "redis:///0": "host",
    "redis://:6379": "host",
    "redis://user:s3cret@": "host",
    "redis://user:s3cret@/0": "host",
    "redis://a:1,b:2": "one host",
    "redis://h:port": "port",
    "redis://h:": "port",
    "redis://h:0": "port",
    "redis://h:65536": "port",
    "redis://h:-1": "port",
    "redis://h:²": "port",
    "redis://h: 6379": "blanks",
    "redis://:s3/cret@h:6379": "%2F",
    "redis://user:12/s3cret@h:6379": "%2F",
    "redis://:s3#cret@h": "%23",
    "redis://h/films": "database",
    "redis://h/-1": "database",
    "redis+cluster://h:6379/3": "database",
    "redis+cluster://": "host",
    "redis+sentinel://h:26379": "service",
    "redis+sentinel://h:26379/": "service",
    "redis+sentinel://h/films": "port",
    "redis+sentinel://h:1,/films": "host",
    "redis+sentinel://h:1,i:x/films": "port",
    "unix://": "socket",
    "unix://run/redis.sock": "socket",
    "redis://h?colour=red": "unknown option 'colour'",
    "redis://h?socket_timeout=60": "unknown option 'socket_timeout'",
    "redis+cluster://h:1?max_connections=1": "unknown option",
    "redis+sentinel://h:1/s?retry=1": "unknown option",
    "redis://h?db=1": "unknown option",
    "redis://h?ssl_ca_certs=/ca.pem": "rediss",
    "redis://h?client_name=": "empty",
    "redis://h?client_name=a&client_name=b": "twice",
    "redis://h?health_check_interval=often": "whole number",
    "unix:///s?db=x": "whole number",
    "rediss://h?ssl_check_hostname=maybe": "true or false",
    "rediss://h?ssl_cert_reqs=never": "none, optional or required",
    "rediss://h?ssl_ca_certs=/no/such/ca.pem": "/no/such/ca.pem",
    "rediss+cluster://h:1?ssl_ca_certs=/no/such/ca.pem": "/no/such/ca.pem",
    "rediss+sentinel://h:1/s?ssl_certfile=/no/such/cert.pem": "/no/such/cert.pem",
    "rediss://h?ssl_keyfile=/key.pem": "ssl_certfile",
    "redis://[::1": "UNIRANK_REDIS_URL",
}


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_names_the_setting_and_what_is_wrong_and_no_password(url: str) -> None:
    with pytest.raises(RedisUrlError) as caught:
        check(url)
    said = str(caught.value)
    assert said.startswith("UNIRANK_REDIS_URL: ")
    assert BAD[url] in said
    assert "\n" not in said
    assert "s3" not in said


GOOD = {
    "redis://h": Target("one", [("h", 6379)], options={"db": 0}),
    "REDIS://h:1/2": Target("one", [("h", 1)], options={"db": 2}),
    "redis://[::1]:7/": Target("one", [("::1", 7)], options={"db": 0}),
    "redis://a:b%40%2F%23@h": Target("one", [("h", 6379)], options={"db": 0, "username": "a", "password": "b@/#"}),
    "redis://:only@h?client_name=u": Target(
        "one", [("h", 6379)], options={"db": 0, "password": "only", "client_name": "u"}
    ),
    "rediss://h?ssl_check_hostname=false": Target(
        "one", [("h", 6379)], options={"db": 0, "ssl_check_hostname": False}, tls=True
    ),
    "unix:///run/redis.sock?db=3": Target("one", options={"path": "/run/redis.sock", "db": 3}),
    "redis+cluster://h": Target("cluster", [("h", 6379)]),
    "rediss+cluster://h:1/0": Target("cluster", [("h", 1)], tls=True),
    "redis+sentinel://p:w@h:1,[::1]:2/films": Target(
        "sentinel", [("h", 1), ("::1", 2)], "films", {"username": "p", "password": "w"}
    ),
}


@pytest.mark.parametrize("url", GOOD)
def test_a_good_url_means_what_it_says_and_makes_a_client(url: str) -> None:
    check(url)
    assert parse(url) == GOOD[url]
    assert connect(url, 0.05) is not None


def test_files_of_tls_are_read(tmp_path: Path) -> None:
    authority = trustme.CA()
    good, bad = tmp_path / "ca.pem", tmp_path / "notes.txt"
    authority.cert_pem.write_to_path(good)
    bad.write_text("remember the milk")
    check(f"rediss://h?ssl_ca_certs={good}")
    with pytest.raises(RedisUrlError, match=r"notes\.txt"):
        check(f"rediss://h?ssl_ca_certs={bad}")


def test_serve_refuses_a_bad_url_before_it_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(server, "_listen", lambda *_: pytest.fail("it listens"))
    with pytest.raises(ValueError, match=r"UNIRANK_REDIS_URL: .*port"):
        server.serve(settings(redis_url="redis://h:x", model_path=tmp_path, port=free_port()))


def test_create_app_refuses_a_bad_url_too() -> None:
    with pytest.raises(ValueError, match=r"UNIRANK_REDIS_URL: .*scheme"):
        app_of(FakeModel(), redis_url="nonsense")


def test_publish_names_the_option_or_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNIRANK_REDIS_URL", "redis://h:y")
    said = str(CliRunner().invoke(models.app, ["publish", str(tmp_path)]).exception)
    assert said.startswith("UNIRANK_REDIS_URL: expected a port")
    said = str(CliRunner().invoke(models.app, ["publish", str(tmp_path), "--redis-url", "redis://h:x"]).exception)
    assert said.startswith("--redis-url: expected a port")


def test_a_refused_url_leaves_no_port_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="UNIRANK_REDIS_URL"):
        server.serve(settings(redis_url="ftp://h", model_path=tmp_path, port=port))
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:26379", "redis+sentinel://127.0.0.1/films", "ftp://127.0.0.1", "nonsense"]
)
def test_a_bad_url_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"Sentinel|scheme|URL"):
        connect(url, 0.05)


def test_the_certificate_authority_is_passed_to_sentinels_too():
    client = connect("rediss+sentinel://127.0.0.1:26379/films?ssl_ca_certs=/ca.pem", 0.05)
    kwargs = client.connection_pool.connection_kwargs
    sentinel = client.connection_pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs
    assert kwargs["ssl_ca_certs"] == sentinel["ssl_ca_certs"] == "/ca.pem"
