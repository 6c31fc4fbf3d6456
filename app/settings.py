"""The settings: `UNIRANK_*` variables, read once into one frozen object; no other file reads them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "UNIRANK_"


class Settings(BaseSettings):
    """All settings of the service. The names contain the units."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", protected_namespaces=())

    model_path: Path | None = Field(default=None, description="Model folder, or folder of models with a file `LIVE`")
    demo_if_empty: bool = Field(default=False, description="Train the demo's model first if there is none")
    host: str = Field(default="127.0.0.1", description="Address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on")
    workers: int = Field(default=1, ge=1, description="Server processes; each uses one core and loads the model")
    device: str = Field(default="cpu", description="Where the network runs: `cpu`, `cuda`, …")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="Lowest log level")
    admin_host: str = Field(default="127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(default=0, ge=0, le=65535, description="Separate port for metrics and models; 0 = none")
    api_keys_file: Path | None = Field(default=None, description="File of API keys; none = no key is needed")
    cors_origins: str = Field(default="", description="Origins allowed in browsers, separated by commas; empty = off")

    state_dir: Path = Field(default=Path("~/.local/state/unirank"), description="Folder of the event log")

    redis_url: str = Field(default="", description="Redis as second tier of entity records; empty = no Redis")
    redis_timeout_ms: int = Field(default=50, ge=1, le=50, description="Longest wait for one Redis round trip")
    redis_ttl_s: int = Field(default=86_400, ge=1, description="Lifetime of a record in Redis, up to a tenth less")
    memory_entities: int = Field(default=1_000_000, ge=0, description="Entity records held in process memory")

    drain_notice_ms: int = Field(
        default=1_000,
        ge=0,
        description="Time from SIGTERM, when `/readyz` turns 503, to the last new connection",
    )
    shadow_share: float = Field(default=0.1, ge=0, le=1, description="Share of rankings that a shadow model repeats")

    timeout_ms: int = Field(default=2_000, ge=1, description="Deadline of a request that sets none")
    max_queue_candidates: int = Field(
        default=50_000, ge=1, description="Candidates in progress at which others get 503"
    )
    retrieve_limit: int = Field(default=500, ge=1, description="Candidates retrieved where the request gives none")
    max_connections: int = Field(default=4_096, ge=1, description="Open connections per worker")
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="Largest request body")
    body_timeout_ms: int = Field(default=10_000, ge=1, description="Longest wait for a request body to arrive")
    max_candidates: int = Field(default=5_000, ge=1, description="Candidates of one ranking, duplicates counted")
    max_seen: int = Field(
        default=100_000, ge=0, description="Newest seen entities of a user that a ranking drops or demotes"
    )
    max_history: int = Field(default=2_000, ge=1, description="Events in the history of a request")
    max_homepage_candidates: int = Field(
        default=25_000,
        ge=1,
        description="Candidates of all rows of a homepage; a row without any counts its limit",
    )
    max_rows: int = Field(default=50, ge=1, description="Rows of one homepage")
    max_id_chars: int = Field(default=256, ge=1, description="Longest id, in characters")
    max_query_chars: int = Field(default=2_000, ge=1, description="Longest query, in characters")
    max_depth: int = Field(default=32, ge=2, le=200, description="Deepest nesting of a request body")

    def origins(self) -> list[str]:
        """The allowed origins as a list."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    def events_folder(self) -> Path:
        """The folder of the event log."""
        return self.state_dir.expanduser() / "events"

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, so that worker processes read the same ones."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def settings_table() -> str:
    """All settings as a Markdown table, for the README."""
    lines = ["| variable | default | |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = "" if info.default in (None, "") else f"`{info.default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {info.description} |")
    return "\n".join(lines) + "\n"
