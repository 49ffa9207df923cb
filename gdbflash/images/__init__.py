"""Firmware images: bytes by address, the file formats they come in, and the files that bytes read go to.

What belongs here: what is or becomes a file of content. May import: the modules at the top of the package.
"""
