"""Parses and checks `UNIRANK_REDIS_URL` before anything starts. Connects to nothing.

`redis://`, `rediss://` (TLS) and `unix://`, user and password included;
`redis+sentinel://[user:password@]host:port[,host:port…]/service` and `redis+cluster://host:port` (`rediss+…` for TLS).
Options cover identity and trust (names, certificates) only; a URL cannot set timeouts, retries or the number of
connections. Error messages about a bad URL contain no password.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SETTING = "UNIRANK_REDIS_URL"
Kind = Literal["one", "sentinel", "cluster"]
_KINDS: dict[str, Kind] = {"sentinel": "sentinel", "cluster": "cluster"}
_SCHEMES = ("redis", "rediss", "unix", *(f"{tls}+{kind}" for kind in _KINDS for tls in ("redis", "rediss")))
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = {*_TLS_FILES, "ssl_check_hostname", "ssl_cert_reqs"}
_OPTIONS = {"client_name", "health_check_interval", *_TLS}
_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}
_LAST_PORT = 65_535
_ESCAPE_HINT = "expected host:port; ':', '/' and '@' in a user or a password are written %3A, %2F and %40"


class RedisUrlError(ValueError):
    """A URL that no client can be created from."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to: a server, the Sentinels of a `service`, or a node of a cluster; and the client's options."""

    kind: Kind
    addresses: list[tuple[str, int]] = field(default_factory=list)
    service: str = ""
    options: dict[str, object] = field(default_factory=dict)
    tls: bool = False


def check(url: str, name: str = SETTING) -> None:
    """Raise `RedisUrlError`, one line, if the URL of the setting or option `name`, or a file it names, is wrong."""
    options = parse(url, name).options
    try:
        _check_files(options)
    except ValueError as error:
        raise RedisUrlError(f"{name}: {error}") from None


def parse(url: str, name: str = SETTING) -> Target:
    """The target of a URL. Raises `RedisUrlError`, one line."""
    try:
        return _parse_url(url)
    except ValueError as error:  # urlsplit raises some of its own
        raise RedisUrlError(f"{name}: {error}") from None


def _parse_url(url: str) -> Target:
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a URL holds no blanks; write them %20")
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme not in _SCHEMES:
        raise ValueError(f"expected one of the schemes {', '.join(f'{name}://' for name in _SCHEMES)}")
    parts = urlsplit(url)
    if parts.fragment or url.endswith("#"):
        raise ValueError("'#' in a user, a password or a name is written %23")
    tls, _, kind = scheme.partition("+")
    options = _parse_options(parts, tls == "rediss", scheme)
    if scheme == "unix":
        return Target("one", options=options | _socket_options(parts))
    options |= _credentials(parts)
    return _build_target(parts, _KINDS.get(kind, "one"), options, tls == "rediss")


def _build_target(parts: SplitResult, kind: Kind, options: dict[str, object], tls: bool) -> Target:
    if "@" in parts.path:  # the rest of a password, most likely
        raise ValueError(_ESCAPE_HINT)
    path = unquote(parts.path.strip("/"))
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if kind == "sentinel":
        if not path:
            raise ValueError("a Sentinel URL names its service: redis+sentinel://host:26379/mymaster")
        return Target(kind, [_parse_address(host, None) for host in hosts], path, options, tls)
    if len(hosts) > 1:
        raise ValueError("expected one host; only a Sentinel URL has several")
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError("a cluster has no database but 0")
    if path and not (path.isascii() and path.isdigit()):
        raise ValueError("expected the number of a database behind the host, as in redis://host:6379/0")
    if kind == "one":
        options["db"] = int(path or 0)
    return Target(kind, [_parse_address(hosts[0], 6_379)], "", options, tls)


def _socket_options(parts: SplitResult) -> dict[str, object]:
    if parts.hostname or not parts.path.strip("/"):
        raise ValueError("expected the path of a socket: unix:///run/redis.sock")
    return {"path": unquote(parts.path), **_credentials(parts)}


def _credentials(parts: SplitResult) -> dict[str, object]:
    credentials = {"username": parts.username, "password": parts.password}
    return {name: unquote(value) for name, value in credentials.items() if value}


def _parse_address(host: str, usual_port: int | None) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@]+)(?::([^:]*))?", host)
    if match is None:
        raise ValueError(_ESCAPE_HINT)
    port = match[2] if match[2] is not None or usual_port is None else str(usual_port)
    if not port or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= _LAST_PORT:
        raise ValueError("expected a port from 1 to 65535 behind each host")
    return unquote(match[1].strip("[]")), int(port)


def _parse_options(parts: SplitResult, tls: bool, scheme: str) -> dict[str, object]:
    allowed = _OPTIONS | ({"db", "username", "password"} if scheme == "unix" else set())
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options: dict[str, object] = {}
    for name, value in pairs:
        if name not in allowed:
            raise ValueError(f"unknown option '{name}'; known are {', '.join(sorted(allowed))}")
        if name in options:
            raise ValueError(f"option '{name}' is given twice")
        if name in _TLS and not tls:
            raise ValueError(f"option '{name}' needs TLS: rediss")
        options[name] = _option_value(name, value)
    return options


def _option_value(name: str, value: str) -> object:
    if not value:
        raise ValueError(f"option '{name}' is empty")
    if name in ("db", "health_check_interval"):
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"option '{name}': expected a whole number, got '{value}'")
        return int(value)
    if name == "ssl_check_hostname":
        if value.lower() not in _TRUE | _FALSE:
            raise ValueError(f"option '{name}': expected true or false, got '{value}'")
        return value.lower() in _TRUE
    if name == "ssl_cert_reqs" and value not in ("none", "optional", "required"):
        raise ValueError(f"option '{name}': expected none, optional or required, got '{value}'")
    return value


def _check_files(options: dict[str, object]) -> None:
    """Read the files that TLS will read, with the same library, so that a wrong path is found at once."""
    context = ssl.create_default_context()
    authority, certificate, key = (options.get(name) for name in _TLS_FILES)
    if key is not None and certificate is None:
        raise ValueError("option 'ssl_keyfile' needs 'ssl_certfile'")
    try:
        if authority is not None:
            context.load_verify_locations(str(authority))
        if certificate is not None:
            context.load_cert_chain(str(certificate), None if key is None else str(key), password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        files = ", ".join(str(file) for file in (authority, certificate, key) if file is not None)
        raise ValueError(f"cannot read {files}: {getattr(error, 'strerror', None) or error}") from None
