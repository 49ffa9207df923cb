"""External loaders, as their files say: storage, functions, segments, and what is to be said about them.

What belongs here: from a `.stldr` file to values, without a target. May import: the modules at the top of the package.
A new kind of loader file is a module here that yields an `ExternalLoader`.
"""
