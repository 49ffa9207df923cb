/*
 * The demo loader; what is special about it is where its linker script puts StorageInfo.
 */
#define NAME "INFO_ELSEWHERE"
#include "w25q128_h750_qspi.c"
