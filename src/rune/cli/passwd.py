"""`rune passwd`: a user changes the own password."""

from __future__ import annotations

import click

from rune.api.orchestrator import sessions
from rune.api.validate import build
from rune.cli.connect import connected
from rune.cli.state import State
from rune.cli.typed import typed


@click.command(epilog="Example: rune passwd")
@click.option("--old-file", default="", metavar="FILE", help="Read the old password from there. [asks]")
@click.option("--new-file", default="", metavar="FILE", help="Read the new password from there. [asks]")
@click.pass_obj
def passwd(state: State, old_file: str, new_file: str) -> None:
    """Change your own password; your other sessions that began with a password end.

    Who has no password yet gets the first from whoever looks after the users: rune admin user set-password.
    """
    if "-" in (old_file, new_file):
        raise click.UsageError("two passwords cannot both come from stdin: name files, or let it ask")
    old = typed("Old password", old_file)
    new = typed("New password", new_file, twice=True)
    request = build(sessions.ChangePasswordRequest, {"old_password": old, "new_password": new})
    answer = connected(state, lambda client: client.call(sessions.change_password, request))
    ended = f"; {answer.sessions} other sessions ended" if answer.sessions else ""
    click.echo(f"password changed{ended}")
