"""What is done to a storage: looked at, erased, programmed, verified, and the bytes beside the image kept.

What belongs here: policy, with a loader that `onchip` has put into RAM; the order of a run is in `flasher`.
May import: `onchip` and what lies below it.
"""
