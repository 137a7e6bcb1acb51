"""Where the scheduler is and who asks: a configuration file, and the environment above it."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from scheduler.client.problems import did_you_mean


class SettingsError(ValueError):
    """The settings cannot be used; the message names the key, the value and the fix."""


class Settings(BaseSettings):
    """Each key is also WESTWARD_<KEY> in the environment, which wins over the file."""

    model_config = SettingsConfigDict(env_prefix="WESTWARD_", extra="forbid", frozen=True)

    address: str = Field(
        default="127.0.0.1:7443",
        pattern=r"^[^\s/]+:\d{1,5}$",
        description="host:port of the scheduler",
    )
    token: SecretStr | None = Field(default=None, description="bearer token, where one is asked")
    tls_ca: Path | None = Field(
        default=None, description="PEM file of the authorities to trust; without it: plain text"
    )
    tenant: str | None = Field(default=None, description="tenant of jobs that name none")


def file_path() -> Path:
    """The configuration file: $WESTWARD_CONFIG, or westward/config.yaml where the user's
    configuration lies. It need not exist."""
    if chosen := os.environ.get("WESTWARD_CONFIG"):
        return Path(chosen)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "westward" / "config.yaml"


def load() -> Settings:
    """Reads the file, if there is one, and the environment.

    Raises:
        SettingsError: WESTWARD_CONFIG names no file, or a key is unknown or malformed.
    """
    path = file_path()
    if "WESTWARD_CONFIG" in os.environ and not path.is_file():
        raise SettingsError(f"WESTWARD_CONFIG={path} is not a file; unset it or write that file")

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=path)

    try:
        return FromFile()
    except ValidationError as error:
        raise SettingsError("\n".join(_told(error, path))) from error
    except (YAMLError, OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _told(error: ValidationError, path: Path) -> list[str]:
    told = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        source = f"WESTWARD_{key.upper()}"
        where = source if source in os.environ else f"{path}: {key}"
        if item["type"] == "extra_forbidden":
            told.append(f"{where}: unknown key; {did_you_mean(key, Settings.model_fields)}")
        elif key == "address":
            told.append(f"{where}: {item['input']!r} is not host:port; e.g. 127.0.0.1:7443")
        else:
            told.append(f"{where}: {item['msg']}")
    return told
