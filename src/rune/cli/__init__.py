"""The command line: `rune`. `main.py` finds a command, `derive.py` makes commands of the operation table."""
