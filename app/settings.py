"""The settings: `UNIRANK_*` variables, read once into one frozen object; no other file reads them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "UNIRANK_"


class Settings(BaseSettings):
    """Everything that an operator can turn. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", protected_namespaces=())

    model_path: Path | None = Field(default=None, description="Model folder, or a folder of them with a file `LIVE`")
    demo_if_empty: bool = Field(default=False, description="Train the demo's model first where there is none")
    host: str = Field(default="127.0.0.1", description="Address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on")
    workers: int = Field(default=1, ge=1, description="Server processes; each uses one core and loads the model")
    device: str = Field(default="cpu", description="Where the network runs: `cpu`, `cuda`, …")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="Least severe log line")
    admin_host: str = Field(default="127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(default=0, ge=0, le=65535, description="Port of its own for metrics and models; 0 = none")
    api_keys_file: Path | None = Field(default=None, description="File of API keys; none = whoever connects may call")
    cors_origins: str = Field(default="", description="Origins that browsers may call from, by comma; empty = off")

    state_dir: Path = Field(default=Path("~/.local/state/unirank"), description="Folder of the event log")

    redis_url: str = Field(default="", description="Second tier of entity records; empty = no Redis needed")
    redis_timeout_ms: int = Field(default=50, ge=1, le=50, description="Longest wait for one Redis round trip")
    redis_ttl_s: int = Field(default=86_400, ge=1, description="Lifetime of a record in Redis, or up to a tenth less")
    memory_entities: int = Field(default=1_000_000, ge=0, description="Entity records held in process memory")

    drain_notice_ms: int = Field(
        default=1_000, ge=0, description="From SIGTERM, when `/readyz` turns 503, to the last new connection"
    )
    shadow_share: float = Field(default=0.1, ge=0, le=1, description="Share of rankings that a shadow model does, too")

    timeout_ms: int = Field(default=2_000, ge=1, description="Deadline of a request that names none")
    max_queue_candidates: int = Field(default=50_000, ge=1, description="Candidates under way before others get 503")
    retrieve_limit: int = Field(default=500, ge=1, description="Candidates proposed where the request gives none")
    max_connections: int = Field(default=4_096, ge=1, description="Connections that a worker holds")
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="Largest request body")
    body_timeout_ms: int = Field(default=10_000, ge=1, description="Longest wait for a request body to arrive")
    max_candidates: int = Field(default=5_000, ge=1, description="Candidates of one ranking, duplicates counted")
    max_seen: int = Field(
        default=100_000, ge=0, description="Entities that a person has met and a ranking leaves out, the newest"
    )
    max_history: int = Field(default=2_000, ge=1, description="Events of one history that a request brings along")
    max_homepage_candidates: int = Field(
        default=25_000, ge=1, description="Candidates of all rows of a homepage; a row without counts its limit"
    )
    max_rows: int = Field(default=50, ge=1, description="Rows of one homepage")
    max_id_chars: int = Field(default=256, ge=1, description="Longest id, in characters")
    max_query_chars: int = Field(default=2_000, ge=1, description="Longest query, in characters")
    max_depth: int = Field(default=32, ge=2, le=200, description="Deepest nesting of a request body")

    def origins(self) -> list[str]:
        """The allowed origins as a list."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    def events_folder(self) -> Path:
        """Where the event log lives."""
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
