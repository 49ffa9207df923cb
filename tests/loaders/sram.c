/*
 * A loader whose storage is RAM: SRAM1, 128 KiB at 0x30000000, off until its clock is enabled.
 *
 * No erase, as RAM-type loaders have none.
 *   WITHOUT_WRITE   nor Write: the host writes to the mapped address itself
 */
#include "external_loader.h"
#include "stm32h750.h"

#define BASE 0x30000000u
#define SIZE 0x20000u

/* ST RM0433 rev 8, 8.7.41 (RCC_AHB2ENR) */
#define RCC_AHB2ENR REGISTER(0x580244DCu)
#define RCC_AHB2_SRAM1 (1u << 29)

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "SRAM1_H750",
    .type = SRAM,
    .start = BASE,
    .size = SIZE,
    .page_size = 16,
    .erased_value = 0,
    .sectors = {{1, SIZE}},
};

int Init(void)
{
    RCC_AHB2ENR |= RCC_AHB2_SRAM1;
    (void)RCC_AHB2ENR;
    return 1;
}

#ifndef WITHOUT_WRITE
int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    volatile uint8_t *memory = (volatile uint8_t *)address;

    if (address < BASE || size > SIZE || address - BASE > SIZE - size) {
        return 0;
    }
    while (size-- != 0) {
        *memory++ = *buffer++;
    }
    return 1;
}
#endif
