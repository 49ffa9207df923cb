"""The Cortex-M7 of the virtual board: instructions, registers, exceptions, and the clocks inside the core."""
