"""Shield inside other people's frameworks: one module for each, imported only by who has that framework.

They differ in where they take hold; what is asked of the Shield, and when, is the same and lives in
`checkpoint` (what goes in, out and to a tool) and `held` (streams).
"""
