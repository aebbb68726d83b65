"""`rune ui`: the dashboard in a browser, logged in through a code that is good once and for a minute."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from rune.cli.connect import renewed, trusted
from rune.cli.state import State
from rune.client.sessions import login_code

PORT = 7861
SECONDS = 10.0


@click.command(epilog="Examples: rune ui; rune ui --no-browser; rune ui --url https://rune.example.com:7861")
@click.option(
    "--url", default="", metavar="URL", help="The dashboard's address. [the server's host, port 7861]"
)
@click.option("--no-browser", is_flag=True, help="Only print the link; it is good once and for a minute.")
@click.pass_obj
def ui(state: State, *, url: str, no_browser: bool) -> None:
    """Open the dashboard in a browser, logged in."""
    renewed(state)
    at = (url or address(state.address)).rstrip("/")
    secured = trusted(state) if at.startswith("https://") else None
    link = f"{at}/enter#{login_code(at, state.token, trust=secured, insecure=state.insecure)}"
    if no_browser or click.launch(link) != 0:
        click.echo(link)
    else:
        click.echo(f"the dashboard of {at} is open in your browser")


def address(server: str) -> str:
    """Where a server's dashboard is, as far as its address tells: the same host, TLS where that has TLS."""
    if server.startswith(("http://", "https://")):
        return server
    scheme = "https" if server.startswith("grpcs://") else "http"
    host = urlsplit(server if "://" in server else f"//{server}").hostname or "127.0.0.1"
    return f"{scheme}://[{host}]:{PORT}" if ":" in host else f"{scheme}://{host}:{PORT}"
