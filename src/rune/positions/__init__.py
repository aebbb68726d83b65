"""YAML with the place of every part: what policies, service files and contexts are read with.

`tree.parse` gives nodes and everything that is wrong with the text; `values.read` gives plain values of one
strict document. What a word means is decided by whoever reads it.
"""
