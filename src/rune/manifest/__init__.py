"""What a file means: YAML to the models of the API, with the place of everything that is wrong.

`documents.read` gives what a file declares; `lint.check` finds what a server would trip over.
"""
