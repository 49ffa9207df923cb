/*
 * The demo loader with 1 KiB of .bss, all of which Init and Write use and no call finds changed.
 *
 * Init clears it first, as start-up code would: it makes no demand on the host but to leave it alone.
 */
#define Init plain_init
#define Write plain_write
#define NAME "NOBITS"
#include "w25q128_h750_qspi.c"
#undef Init
#undef Write

int Init(void);
int Write(uint32_t address, uint32_t size, const uint8_t *buffer);

#define WORDS 256u

static volatile uint32_t scratch[WORDS];

static void fill(uint32_t value)
{
    for (uint32_t n = 0; n < WORDS; n++) {
        scratch[n] = value + n;
    }
}

static bool holds(uint32_t value)
{
    for (uint32_t n = 0; n < WORDS; n++) {
        if (scratch[n] != value + n) {
            return false;
        }
    }
    return true;
}

#define AFTER_INIT 0xDEAD0000u
#define AFTER_WRITE 0xBEEF0000u

static uint32_t expected;

int Init(void)
{
    fill(AFTER_INIT);
    expected = AFTER_INIT;
    return plain_init();
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    if (!holds(expected)) {
        return 0;
    }
    fill(AFTER_WRITE);
    expected = AFTER_WRITE;
    return plain_write(address, size, buffer);
}
