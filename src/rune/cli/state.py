"""State: what a command knows before it asks a server: where it is, who we are, which namespace."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rune.client.contexts import Context, Contexts

DEFAULT_SERVER = "127.0.0.1:7863"


class State:
    """Options of `rune` itself; an option goes before the environment, that before the context's file."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        server: str = "",
        context: str = "",
        config: str = "",
        organization: str = "",
        insecure: bool = False,
    ) -> None:
        self.environ = environ
        self._organization = organization
        self.server, self.context, self.config, self.allowed = server, context, config, insecure

    @property
    def config_path(self) -> str:
        """The file with the contexts."""
        named = self.config or self.environ.get("RUNE_CLI_CONFIG", "")
        return named or f"{self.environ.get('HOME', '')}/.rune/config.yaml"

    @cached_property
    def contexts(self) -> Contexts:
        """The file's content; empty when there is none."""
        from click import echo  # noqa: PLC0415 - as below

        from rune.client.contexts import load  # noqa: PLC0415 - not needed where the environment says it all

        return load(self.config_path, warn=lambda text: echo(f"warning: {text}", err=True))

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
    def session(self) -> Context | None:
        """The context whose session we use; None where the token is none of a session."""
        if self.environ.get("RUNE_TOKEN", ""):
            return None
        chosen = self.contexts.chosen(self.context)
        is_its = self.address == (chosen.server or DEFAULT_SERVER)
        return chosen if chosen.refresh and is_its else None

    @property
    def ca_file(self) -> str:
        """PEM file with the authority that the server's certificate must come from."""
        said = self.environ.get("RUNE_CA_FILE", "")
        return said or self.contexts.chosen(self.context).ca_file

    @property
    def cert_file(self) -> str:
        """PEM file with our own certificate, for servers that ask for one."""
        return self.environ.get("RUNE_CERT_FILE", "") or self.contexts.chosen(self.context).cert_file

    @property
    def key_file(self) -> str:
        """PEM file with our certificate's private key."""
        return self.environ.get("RUNE_KEY_FILE", "") or self.contexts.chosen(self.context).key_file

    @property
    def insecure(self) -> bool:
        """The token may travel unencrypted; what a context says of that holds for its own server alone."""
        if self.allowed or self.environ.get("RUNE_INSECURE", "").lower() in ("1", "true", "yes"):
            return True
        chosen = self.contexts.chosen(self.context)
        return chosen.insecure.lower() == "true" and self.address == (chosen.server or DEFAULT_SERVER)

    @property
    def organization(self) -> str:
        """Where agents, alerts and policies are looked for; empty for the credential's own."""
        return self._organization or self.environ.get("RUNE_ORGANIZATION", "")

    def namespace(self, option: str | None) -> str:
        """The namespace that the option names, or the usual one."""
        said = option or self.environ.get("RUNE_NAMESPACE", "")
        return said or self.contexts.chosen(self.context).namespace or "default"
