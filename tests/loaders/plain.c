/*
 * A loader whose storage is plain memory that passes for flash, of any size: SIZE bytes at BASE in sectors of SECTOR.
 *
 * The board has no such memory by itself: the test puts it there. No Read: the memory is mapped.
 */
#include "external_loader.h"

#ifndef BASE
#define BASE 0xC0000000u
#endif

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "PLAIN",
    .type = NOR_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = 256,
    .erased_value = 0xFF,
    .sectors = {{SIZE / SECTOR, SECTOR}},
};

int Init(void)
{
    return 1;
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    volatile uint8_t *memory = (volatile uint8_t *)address;

    while (size-- != 0) {
        *memory++ &= *buffer++;
    }
    return 1;
}

int SectorErase(uint32_t start, uint32_t end)
{
    for (uint32_t address = start - start % SECTOR; address <= end; address += SECTOR) {
        for (uint32_t n = 0; n < SECTOR; n += 4) {
            *(volatile uint32_t *)(address + n) = 0xFFFFFFFFu;
        }
    }
    return 1;
}
