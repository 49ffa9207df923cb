/*
 * The demo loader with a constant that Init looks at, for its linker script to put behind StorageInfo.
 */
#define Init plain_init
#define NAME "OVERLAP"
#include "w25q128_h750_qspi.c"
#undef Init

int Init(void);

#define CANARY 0x0BADCAFEu

static const uint32_t canary = CANARY;

int Init(void)
{
    const uint32_t *place = &canary;

    __asm("" : "+r"(place)); /* else the compiler knows what lies there, and the constant is gone */
    return *place == CANARY && plain_init();
}
