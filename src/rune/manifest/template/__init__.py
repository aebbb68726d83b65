"""Templates of runesets: text with actions in double braces, in the language people know from Go and Helm.

Our own small engine, because of what no library gives together: every error with its line and column, every
piece of the output with its place in the template, sensitive values staying so on the way, and limits on
work and size. A template reaches what it is handed and nothing else.
"""
