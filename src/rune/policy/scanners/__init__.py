"""The scanners of Shield; L1 (`patterns`) is pure, linear in the text, and driven by rules that are data.

Importing this package loads no pattern library; the first `PatternScanner` does.
"""
