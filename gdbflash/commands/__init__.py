"""What people may say to the tool, whichever front end they say it to, and what follows from it.

What belongs here: what the command line (`cli`) and the commands inside GDB (`ingdb`) share: the reading of words and
the decisions of each command. May import: `flash` and what lies below it, and the names of servers and of
`integrations`. A new command begins here: a row in `table`, and what it decides in `requests`.
"""
