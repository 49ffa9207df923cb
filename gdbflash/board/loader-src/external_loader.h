/*
 * What a host finds in an ST external loader (.stldr): functions by name, and StorageInfo.
 *
 * A loader has no start-up code. The host resets and halts the MCU, loads the segments that lie in RAM, zeroes
 * .bss, sets the stack pointer, and calls one function at a time with a breakpoint at its return address, the
 * word below the link address. Static variables keep their values from call to call.
 *
 * Arguments and results follow the AAPCS. Success is 1; a host takes every other result as a failure.
 */
#ifndef EXTERNAL_LOADER_H
#define EXTERNAL_LOADER_H

#include <stdint.h>

enum storage_type {
    MCU_FLASH = 1,
    NAND_FLASH = 2,
    NOR_FLASH = 3,
    SRAM = 4,
    PSRAM = 5,
    PC_CARD = 6,
    SPI_FLASH = 7,
    I2C_FLASH = 8,
    SDRAM = 9,
    I2C_EEPROM = 10,
};

#define SECTOR_GROUPS 10

struct sector_group {
    uint32_t count; /* 0 ends the list */
    uint32_t size;  /* bytes */
};

struct storage_info {
    char name[100]; /* the file's name without .stldr */
    uint16_t type;
    uint32_t start; /* as the MCU addresses it */
    uint32_t size;  /* bytes */
    uint32_t page_size;
    uint8_t erased_value;
    struct sector_group sectors[SECTOR_GROUPS];
};

_Static_assert(sizeof(struct storage_info) == 200, "hosts expect 200 bytes");

/* A segment of its own at address 0, which hosts read from the file and never load. */
#define IN_INFO_SEGMENT __attribute__((section(".info"), used))

extern const struct storage_info StorageInfo;

/* Make the storage usable. */
int Init(void);

/* Give the pins and the peripheral back. */
int DeInit(void);

/* Copy size bytes of the storage at address to buffer. Without this function hosts read the address after Init. */
int Read(uint32_t address, uint32_t size, uint8_t *buffer);

/* Program size bytes from buffer into erased storage at address. */
int Write(uint32_t address, uint32_t size, const uint8_t *buffer);

/* Erase every sector from the one holding the address start to the one holding end, both inclusive. */
int SectorErase(uint32_t start, uint32_t end);

/* Erase the whole storage. Hosts pass 0. */
int MassErase(uint32_t parallelism);

/*
 * Compare words * 4 bytes of the storage at address with the ones at buffer, leaving out the padding that
 * misalignment counts: bits 3..0 bytes in front, bits 19..16 bytes behind.
 * Low word (r0): 0 when they are equal, else the address of the first byte that differs.
 * High word (r1): sum of the storage's bytes.
 */
uint64_t Verify(uint32_t address, uint32_t buffer, uint32_t words, uint32_t misalignment);

/* Add up size bytes of the storage at address, starting from initial, modulo 2^32. */
uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial);

#endif
