"""Serial flash chips on the virtual board, from the pins inwards, and the wires that lead to them."""
