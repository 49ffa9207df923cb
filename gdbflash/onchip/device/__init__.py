"""The device at hand: what the manuals say of each line, and what of that a run has to heed.

What belongs here: RAM, unique ID, read protection, watchdog, a second core, TrustZone. May import what `onchip` may.
"""
