"""What can go wrong on the virtual board on purpose: in the core, on the link, in the chip, and when."""
