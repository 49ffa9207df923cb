/*
 * The demo loader with variables relative to r9 (RWPI): one with a value from the start, and one far behind it.
 *
 * Init and Write return 0 unless the first is found where r9 says. Write counts in the second, and CheckSum, with
 * an initial value of COUNT_PLEASE, tells how often.
 *
 * Compile it with -fropi -frwpi: every variable is then reached as r9 + offset. What r9 has to be is the linker's
 * choice.
 *   UNCHECKED   Init and Write do not look at the first: with a wrong r9 Write changes a word of somebody else
 */
#ifndef NAME
#define NAME "ARMLINK"
#endif

#define Init plain_init
#define Write plain_write
#define CheckSum plain_checksum
#include "w25q128_h750_qspi.c"
#undef Init
#undef Write
#undef CheckSum

int Init(void);
int Write(uint32_t address, uint32_t size, const uint8_t *buffer);
uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial);

#define INITIALISED 0x600DDA7Au
#define COUNT_PLEASE 0xC0C0C0C0u
#define FAR 0x4B84u /* bytes, as in a real loader */

__attribute__((used)) static volatile uint32_t initialised = INITIALISED;

static volatile struct {
    uint8_t between[FAR];
    uint32_t writes;
} area;

static bool base_is_right(void)
{
#ifdef UNCHECKED
    return true;
#else
    return initialised == INITIALISED;
#endif
}

int Init(void)
{
    return base_is_right() && plain_init();
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    if (!base_is_right()) {
        return 0;
    }
    area.writes++;
    return plain_write(address, size, buffer);
}

uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial)
{
    return initial == COUNT_PLEASE ? area.writes : plain_checksum(address, size, initial);
}
