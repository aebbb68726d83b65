"""State: what a command knows before it asks a server: where it is, who we are, which namespace."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rune.cli.contexts import Contexts

DEFAULT_SERVER = "127.0.0.1:7863"


class State:
    """Options of `rune` itself; an option goes before the environment, that before the context's file."""

    def __init__(
        self, environ: Mapping[str, str], *, server: str = "", context: str = "", config: str = ""
    ) -> None:
        self.environ = environ
        self.server, self.context, self.config = server, context, config

    @property
    def config_path(self) -> str:
        """The file with the contexts."""
        named = self.config or self.environ.get("RUNE_CLI_CONFIG", "")
        return named or f"{self.environ.get('HOME', '')}/.rune/config.yaml"

    @cached_property
    def contexts(self) -> Contexts:
        """The file's content; empty when there is none."""
        from rune.cli.contexts import load  # noqa: PLC0415 - not needed where the environment says it all

        return load(self.config_path)

    @property
    def address(self) -> str:
        """Where the server is."""
        named = self.server or self.environ.get("RUNE_SERVER", "")
        return named or self.contexts.chosen(self.context).server or DEFAULT_SERVER

    @property
    def token(self) -> str:
        """Who we are; empty when nobody said.

        A token that a context keeps is for that context's server: it is sent to no other address.
        """
        said = self.environ.get("RUNE_TOKEN", "")
        if said:
            return said
        chosen = self.contexts.chosen(self.context)
        return chosen.token if self.address == (chosen.server or DEFAULT_SERVER) else ""

    @property
    def ca_file(self) -> str:
        """PEM file with the authority that the server's certificate must come from."""
        said = self.environ.get("RUNE_CA_FILE", "")
        return said or self.contexts.chosen(self.context).ca_file

    def namespace(self, option: str | None) -> str:
        """The namespace that the option names, or the usual one."""
        said = option or self.environ.get("RUNE_NAMESPACE", "")
        return said or self.contexts.chosen(self.context).namespace or "default"
