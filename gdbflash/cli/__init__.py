"""The command line: words into calls, and what came of them into lines, JSON and an exit code.

What belongs here: options, printing, signals, exit codes. May import: all but `ingdb`;
`board` is for `cli.board` alone.
"""
