/*
 * External loader: SST25VF032B at chip select 0 of SPI1 of an ASPEED AST1030, as on QEMU's machine ast1030-evb.
 *
 * Init leaves the chip mapped at 0x90000000 and there is no Read: hosts read the window. Write, SectorErase and
 * MassErase leave it unmapped, as most loaders do.
 *
 * In user mode every access to the window is a transfer of as many bytes as it is wide, and its address does not
 * matter; the chip is selected while CE_STOP_ACTIVE is 0. Sources: register names and bits as in QEMU's
 * hw/ssi/aspeed_smc.c and Linux' drivers/spi/spi-aspeed-smc.c; SST25VF032B data sheet S71327, section "Instructions".
 *
 *   HANGS_IN_INIT, HANGS_IN_WRITE   never returns
 *   FAULTS_IN_ERASE                 reads where nothing is: a precise bus fault
 */
#include <stdbool.h>

#include "external_loader.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define BASE 0x90000000u
#define SIZE 0x400000u
#define SECTOR 0x1000u
#define PAGE 256u

#define SPI1_CONF REGISTER(0x7E630000u) /* CE Type Setting Register */
#define SPI1_CONF_ENABLE_W0 (1u << 16)  /* the window of chip select 0 may be written to */
#define SPI1_CTRL0 REGISTER(0x7E630010u) /* CE0 Control Register */
#define SPI1_CTRL_CE_STOP_ACTIVE (1u << 2)
#define SPI1_CTRL_READ_MODE 0u /* plain reads (03h) of the window */
#define SPI1_CTRL_USER_MODE 3u

#define WINDOW_8 (*(volatile uint8_t *)BASE)
#define WINDOW_16 (*(volatile uint16_t *)BASE)
#define WINDOW_32 (*(volatile uint32_t *)BASE)

#define NOTHING_HERE 0x60000000u

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "SST25VF032B_AST1030",
    .type = SPI_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = PAGE,
    .erased_value = 0xFF,
    .sectors = {{SIZE / SECTOR, SECTOR}},
};

enum {
    WRITE_STATUS = 0x01,
    BYTE_PROGRAM = 0x02,
    WRITE_DISABLE = 0x04,
    READ_STATUS = 0x05,
    WRITE_ENABLE = 0x06,
    SECTOR_ERASE = 0x20,
    CHIP_ERASE = 0xC7,
    READ_JEDEC_ID = 0x9F,
    AAI_WORD_PROGRAM = 0xAD,
};

#define STATUS_BUSY 0x01u
#define STATUS_WEL 0x02u
#define STATUS_PROTECTED 0x3Cu /* BP3 to BP0, all set after power-on */
#define JEDEC_ID 0x4A25BFu     /* BFh 25h 4Ah, first byte lowest */
#define W25Q256_ID 0x1940EFu   /* EFh 40h 19h: what QEMU 10 has in its place; it programs pages, no words */

/* Enough for a chip erase (50 ms) at any clock. */
#define STATUS_READS 10000000u

__attribute__((unused)) static void hang(void)
{
    for (;;) {
        __asm volatile("nop");
    }
}

static void select_chip(void)
{
    SPI1_CTRL0 = SPI1_CTRL_USER_MODE | SPI1_CTRL_CE_STOP_ACTIVE;
    SPI1_CTRL0 = SPI1_CTRL_USER_MODE;
}

static void deselect_chip(void)
{
    SPI1_CTRL0 = SPI1_CTRL_USER_MODE | SPI1_CTRL_CE_STOP_ACTIVE;
}

static void map(void)
{
    SPI1_CTRL0 = SPI1_CTRL_READ_MODE;
}

static void send(uint8_t opcode)
{
    select_chip();
    WINDOW_8 = opcode;
    deselect_chip();
}

/* Start an instruction with a 24-bit address, most significant byte first; the chip stays selected. */
static void send_address(uint8_t opcode, uint32_t address)
{
    select_chip();
    WINDOW_32 = opcode | __builtin_bswap32(address & (SIZE - 1u));
}

static uint8_t read_status(void)
{
    select_chip();
    WINDOW_8 = READ_STATUS;
    uint8_t status = WINDOW_8;
    deselect_chip();
    return status;
}

static bool wait_ready(void)
{
    for (uint32_t n = STATUS_READS; n != 0; n--) {
        if (!(read_status() & STATUS_BUSY)) {
            return true;
        }
    }
    return false;
}

static bool enable_write(void)
{
    send(WRITE_ENABLE);
    return read_status() & STATUS_WEL;
}

static bool unprotect(void)
{
    if (!enable_write()) {
        return false;
    }
    select_chip();
    WINDOW_8 = WRITE_STATUS;
    WINDOW_8 = 0;
    deselect_chip();
    return wait_ready() && !(read_status() & STATUS_PROTECTED);
}

static uint32_t read_id(void)
{
    select_chip();
    WINDOW_8 = READ_JEDEC_ID;
    uint32_t id = WINDOW_8;
    id |= (uint32_t)WINDOW_8 << 8;
    id |= (uint32_t)WINDOW_8 << 16;
    deselect_chip();
    return id;
}

static bool contains(uint32_t address, uint32_t size)
{
    return address >= BASE && size <= SIZE && address - BASE <= SIZE - size;
}

int Init(void)
{
#ifdef HANGS_IN_INIT
    hang();
#endif
    SPI1_CONF |= SPI1_CONF_ENABLE_W0;
    send(WRITE_DISABLE); /* ends a programming sequence that lost its host */
    if (!wait_ready() || (read_id() != JEDEC_ID && read_id() != W25Q256_ID) || !unprotect()) {
        return 0;
    }
    map();
    return 1;
}

static bool program_byte(uint32_t address, uint8_t byte)
{
    if (!enable_write()) {
        return false;
    }
    send_address(BYTE_PROGRAM, address);
    WINDOW_8 = byte;
    deselect_chip();
    return wait_ready();
}

/* Program an even number of bytes from an even address on: the address is sent once, and counts up by itself. */
static bool program_words(uint32_t address, const uint8_t *data, uint32_t size)
{
    bool done = enable_write();

    for (uint32_t n = 0; done && n < size; n += 2) {
        if (n == 0) {
            send_address(AAI_WORD_PROGRAM, address);
        } else {
            select_chip();
            WINDOW_8 = AAI_WORD_PROGRAM;
        }
        WINDOW_16 = (uint16_t)(data[n] | data[n + 1] << 8);
        deselect_chip();
        done = wait_ready();
    }
    send(WRITE_DISABLE);
    return done;
}

/* Program up to the end of a page, in one instruction that sends the address once. */
static bool program_page(uint32_t address, const uint8_t *data, uint32_t size)
{
    if (!enable_write()) {
        return false;
    }
    send_address(BYTE_PROGRAM, address);
    for (uint32_t n = 0; n < size; n++) {
        WINDOW_8 = data[n];
    }
    deselect_chip();
    return wait_ready();
}

static bool program_pages(uint32_t address, const uint8_t *data, uint32_t size)
{
    bool done = true;

    while (done && size != 0) {
        uint32_t room = PAGE - address % PAGE;
        uint32_t part = size < room ? size : room;

        done = program_page(address, data, part);
        address += part;
        data += part;
        size -= part;
    }
    return done;
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
#ifdef HANGS_IN_WRITE
    hang();
#endif
    if (!contains(address, size)) {
        return 0;
    }
    if (read_id() == W25Q256_ID) {
        return program_pages(address, buffer, size);
    }
    if (size != 0 && address % 2 != 0) {
        if (!program_byte(address++, *buffer++)) {
            return 0;
        }
        size--;
    }
    if (size >= 2 && !program_words(address, buffer, size & ~1u)) {
        return 0;
    }
    return size % 2 == 0 || program_byte(address + size - 1, buffer[size - 1]);
}

int SectorErase(uint32_t start, uint32_t end)
{
#ifdef FAULTS_IN_ERASE
    (void)REGISTER(NOTHING_HERE);
#endif
    if (!contains(start, 1) || !contains(end, 1)) {
        return 0;
    }
    for (uint32_t address = start - start % SECTOR; address <= end; address += SECTOR) {
        if (!enable_write()) {
            return 0;
        }
        send_address(SECTOR_ERASE, address);
        deselect_chip();
        if (!wait_ready()) {
            return 0;
        }
    }
    return 1;
}

int MassErase(uint32_t parallelism)
{
    (void)parallelism;
    if (!enable_write()) {
        return 0;
    }
    send(CHIP_ERASE);
    return wait_ready();
}

uint64_t Verify(uint32_t address, uint32_t buffer, uint32_t words, uint32_t misalignment)
{
    const uint8_t *stored = (const uint8_t *)address;
    const uint8_t *wanted = (const uint8_t *)buffer;
    uint32_t end = words * 4u - (misalignment >> 16 & 15u);
    uint32_t difference = 0;
    uint32_t sum = 0;

    if (!contains(address, words * 4u)) {
        return address;
    }
    map();
    for (uint32_t n = misalignment & 15u; n < end; n++) {
        uint8_t byte = stored[n];

        sum += byte;
        if (byte != wanted[n] && difference == 0) {
            difference = address + n;
        }
    }
    return (uint64_t)sum << 32 | difference;
}

uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial)
{
    const uint8_t *stored = (const uint8_t *)address;

    if (!contains(address, size)) {
        return 0;
    }
    map();
    for (uint32_t n = 0; n < size; n++) {
        initial += stored[n];
    }
    return initial;
}
