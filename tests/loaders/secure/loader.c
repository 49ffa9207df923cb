/*
 * The demo loader, for its linker script to put elsewhere.
 */
#define NAME "SECURE"
#include "w25q128_h750_qspi.c"
