"""The token that the configuration names.  IO: it reads a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gslb.model.deployment import Api

_TOKEN_MAX = 4_096  # octets


def token_of(api: Api, environment: Mapping[str, str], config: Path) -> tuple[bytes | None, str | None]:
    """The token, None where there is none, and what is wrong with the one that is named.

    A relative `token_file` starts at the folder of `config`.
    """
    if api.token_file is not None:
        path = config.parent / Path(api.token_file).expanduser()
        try:
            with path.open("rb") as file:
                token = file.read(_TOKEN_MAX + 1).strip()
        except OSError as error:
            return None, f"token {path}: {error.strerror}; changes by the API are refused"
        if not token or len(token) > _TOKEN_MAX:
            return None, f"token {path}: expected 1 to {_TOKEN_MAX} octets; changes by the API are refused"
        return token, None
    if api.token_env is None:
        return None, None
    token = environment.get(api.token_env, "").strip().encode("utf-8", "surrogateescape")
    if not token:
        return None, f"token: the environment has no {api.token_env}; changes by the API are refused"
    return token, None
