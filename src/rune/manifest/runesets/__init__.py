"""Runesets: a folder of templates with values, that becomes resources under a release's name.

`archive` reads and writes them, `metadata` is what `runeset.yaml` says, `values` puts layers of values
together, `rendering` makes files of templates.
"""
