"""`python -m rune.daemon`: runed without an installed command."""

from rune.daemon.main import main

main()
