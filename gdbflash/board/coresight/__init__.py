"""The debug side of the virtual board's silicon: access ports, debug registers, comparators and ROM tables."""
