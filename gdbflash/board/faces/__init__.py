"""Ways to reach the virtual board from outside: GDB servers of every kind (RSP) and an ST-LINK probe."""
