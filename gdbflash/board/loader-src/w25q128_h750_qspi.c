/*
 * External loader: Winbond W25Q128JV on QUADSPI bank 1 of an STM32H750.
 *
 *     CLK PB2    NCS PB6    IO0 PF8    IO1 PF9    IO2 PF7    IO3 PF6
 *
 * Init leaves the chip mapped at 0x90000000. Write, SectorErase and MassErase leave it unmapped, as most loaders do:
 * a host calls Init again before it reads the window. Read, Verify and CheckSum map it themselves.
 *
 * No loop waits for ever: a host learns more from a 0 than from a loader that hangs. Waits for the chip are counted in
 * status reads, which take their time on the wire, clocked by HSI, whatever an application has made of PLLs and caches.
 *
 * Sources: W25Q128JV data sheet rev F; STM32H750 data sheet DS12556 rev 6, table 9 (alternate functions); ST RM0433
 * rev 8, chapter 23; errata sheet ES0392.
 */
#include <stdbool.h>

#include "external_loader.h"
#include "stm32h750.h"

#define BASE 0x90000000u
#define ADDRESS_BITS 24u
#define SIZE (1u << ADDRESS_BITS)
#define PAGE 256u

#ifndef SECTOR
#define SECTOR 0x10000u
#endif

#ifndef NAME
#define NAME "W25Q128_H750_QSPI"
#endif

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = NAME,
    .type = SPI_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = PAGE,
    .erased_value = 0xFF,
    .sectors = {{SIZE / SECTOR, SECTOR}},
};

/* Instructions: data sheet 8.1.2 to 8.1.3. */
enum {
    WRITE_ENABLE = 0x06,
    READ_STATUS_1 = 0x05,
    READ_STATUS_2 = 0x35,
    WRITE_STATUS_2 = 0x31,
    READ_JEDEC_ID = 0x9F,
    FAST_READ_QUAD_IO = 0xEB,
    QUAD_PAGE_PROGRAM = 0x32,
    SECTOR_ERASE = SECTOR == 0x1000u ? 0x20 : 0xD8,
    CHIP_ERASE = 0xC7,
    RELEASE_POWER_DOWN = 0xAB,
    ENABLE_RESET = 0x66,
    RESET = 0x99,
    ALL_ONES = 0xFF,
};

#define STATUS_1_BUSY 0x01u
#define STATUS_1_WEL 0x02u
#define STATUS_2_QE 0x02u

/* M5-4 other than 10: the next transaction starts with an instruction again (data sheet 8.2.14). */
#define NO_CONTINUOUS_READ 0xFFu

/* 64 MHz HSI / 2 = 32 MHz, well inside the 133 MHz of the chip; no sample shift needed. */
#define CLOCK_DIVISOR 2u

/* A status read takes 16 clocks at 32 MHz and 2 with NCS high: at most 1.78 of them fit into a microsecond... */
#define STATUS_READS_PER_MS 1800u

/* ...and these are the chip's longest times (data sheet 9.6), doubled. */
#define PAGE_PROGRAM_MS (2u * 3u)
#define WRITE_STATUS_MS (2u * 15u)
#define SECTOR_ERASE_MS (2u * (SECTOR == 0x1000u ? 400u : 2000u))
#define CHIP_ERASE_MS (2u * 200000u)

/* False until Init succeeded; lies in .bss, which the host zeroes. */
static bool ready;

/* More than any transaction needs, at any speed of the CPU: 256 bytes on four lines take 17 us. */
#define FLAG_READS 100000u

/* Wait until the flags in mask have value; false when they do not get it, or QUADSPI refused the transaction. */
static bool wait_flags(uint32_t mask, uint32_t value)
{
    for (uint32_t n = FLAG_READS; n != 0; n--) {
        uint32_t status = QUADSPI->SR;

        if (status & QUADSPI_SR_TEF) {
            return false;
        }
        if ((status & mask) == value) {
            return true;
        }
    }
    return false;
}

/* Wait for the end of a transaction: CCR can be written again once BUSY is 0, which comes a little after TCF. */
static bool finish(void)
{
    bool done = wait_flags(QUADSPI_SR_TCF | QUADSPI_SR_BUSY, QUADSPI_SR_TCF);

    QUADSPI->FCR = QUADSPI_FCR_ALL;
    return done;
}

/*
 * End whatever QUADSPI is doing, memory-mapped mode included, and make it ready for another mode.
 *
 * Errata sheet ES0392, "QUADSPI internal timing criticality": after reset and on leaving memory-mapped mode the
 * controller has to run its clock freely for a moment, at its slowest, and be off again within 127 kernel clocks.
 */
static bool stop(void)
{
    QUADSPI->FCR = QUADSPI_FCR_ALL;
    QUADSPI->CR |= QUADSPI_CR_ABORT;
    if (!wait_flags(QUADSPI_SR_BUSY, 0)) {
        return false;
    }
    QUADSPI->CR = 0;
    QUADSPI->CR = QUADSPI_CR_PRESCALER(256u) | QUADSPI_CR_EN;
    QUADSPI->CCR = QUADSPI_CCR_FREE_RUNNING;
    QUADSPI->CCR = QUADSPI_CCR_FREE_RUNNING;
    QUADSPI->CR = 0;
    if (!wait_flags(QUADSPI_SR_BUSY, 0)) {
        return false;
    }
    QUADSPI->FCR = QUADSPI_FCR_ALL;
    QUADSPI->CR = QUADSPI_CR_PRESCALER(CLOCK_DIVISOR) | QUADSPI_CR_FTHRES(QUADSPI_FIFO_BYTES) | QUADSPI_CR_EN;
    return true;
}

static bool send(uint32_t lines, uint32_t opcode)
{
    QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_INSTRUCTION(lines, opcode);
    return finish();
}

/* Read a register of size bytes; the first byte becomes the least significant one. */
static uint32_t read_register(uint32_t opcode, uint32_t size)
{
    uint32_t value = 0;

    QUADSPI->DLR = size - 1u;
    QUADSPI->CCR = QUADSPI_CCR_READ | QUADSPI_CCR_DATA(1u) | QUADSPI_CCR_INSTRUCTION(1u, opcode);
    if (wait_flags(QUADSPI_SR_TCF, QUADSPI_SR_TCF)) {
        for (uint32_t n = 0; n < size; n++) {
            value |= (uint32_t)QUADSPI_DR_BYTE << 8 * n;
        }
    } else {
        value = ~0u; /* as from a bus that nobody drives: busy, and no known chip */
    }
    QUADSPI->FCR = QUADSPI_FCR_ALL;
    wait_flags(QUADSPI_SR_BUSY, 0);
    return value;
}

static bool wait_ready(uint32_t ms)
{
    for (uint32_t n = ms * STATUS_READS_PER_MS; n != 0; n--) {
        if (!(read_register(READ_STATUS_1, 1) & STATUS_1_BUSY)) {
            return true;
        }
    }
    return false;
}

static bool enable_write(void)
{
    return send(1u, WRITE_ENABLE) && (read_register(READ_STATUS_1, 1) & STATUS_1_WEL);
}

static void configure_pin(struct gpio *port, uint32_t pin, uint32_t function)
{
    uint32_t half = 4u * (pin % 8u);

    port->AFR[pin / 8u] = (port->AFR[pin / 8u] & ~(15u << half)) | function << half;
    port->OTYPER &= ~(1u << pin);
    port->PUPDR &= ~(3u << 2u * pin);
    port->OSPEEDR = (port->OSPEEDR & ~(3u << 2u * pin)) | 2u << 2u * pin; /* high speed */
    port->MODER = (port->MODER & ~(3u << 2u * pin)) | 2u << 2u * pin;     /* alternate function */
}

static void reset_quadspi(void)
{
    RCC_AHB3RSTR |= RCC_AHB3_QSPI;
    (void)RCC_AHB3RSTR;
    RCC_AHB3RSTR &= ~RCC_AHB3_QSPI;
}

static bool start_quadspi(void)
{
    RCC_CR |= RCC_CR_HSION;
    for (uint32_t n = 0; !(RCC_CR & RCC_CR_HSIRDY); n++) {
        if (n == FLAG_READS) {
            return false;
        }
    }
    RCC_D1CCIPR = (RCC_D1CCIPR & ~(RCC_D1CCIPR_CKPERSEL | RCC_D1CCIPR_QSPISEL)) | RCC_D1CCIPR_QSPISEL_PER_CK;
    RCC_AHB3ENR |= RCC_AHB3_QSPI;
    RCC_AHB4ENR |= RCC_AHB4_GPIOB | RCC_AHB4_GPIOF;
    (void)RCC_AHB4ENR; /* the clocks run two cycles after the write (RM0433 8.5.10) */
    reset_quadspi();

    configure_pin(GPIOB, 6, 10); /* NCS */
    configure_pin(GPIOB, 2, 9);  /* CLK */
    configure_pin(GPIOF, 8, 10); /* IO0 */
    configure_pin(GPIOF, 9, 10); /* IO1 */
    configure_pin(GPIOF, 7, 9);  /* IO2 */
    configure_pin(GPIOF, 6, 9);  /* IO3 */

    /*
     * One address bit more than the chip has: a read of the last mapped bytes would lock up the bus (ES0392,
     * "Memory-mapped read of last memory byte fails"). NCS stays high for 2 clocks of 31 ns, of which the chip asks
     * for 50 ns after a write (tSHSL2).
     */
    QUADSPI->DCR = QUADSPI_DCR_FSIZE(ADDRESS_BITS + 1u) | QUADSPI_DCR_CSHT(2u);
    return stop();
}

static bool is_w25q128(uint32_t id)
{
    return id == 0x1840EFu || id == 0x1870EFu; /* EF 40 18 (JV-Q), EF 70 18 (JV-M) */
}

/* Bring the chip from any state, the one of an interrupted program included, to SPI mode. */
static bool reset_chip(void)
{
    send(1u, ALL_ONES); /* ends continuous read */
    send(3u, ALL_ONES); /* ends QPI mode */
    send(1u, RELEASE_POWER_DOWN);

    /*
     * A reset in the middle of an operation would leave the array undefined (data sheet 8.2.43). A page program that
     * lost its host is over soon. An erase goes on for longer, that of the chip for a minute: Init fails until then,
     * and the host calls it again.
     */
    if (!wait_ready(PAGE_PROGRAM_MS)) {
        return false;
    }
    send(1u, ENABLE_RESET);
    send(1u, RESET);
    for (uint32_t n = 0; n < 1000u; n++) { /* deaf for 30 us (tRST); reading an ID takes 1 us */
        if (is_w25q128(read_register(READ_JEDEC_ID, 3))) {
            return true;
        }
    }
    return false;
}

/* Set QE, without which IO2 and IO3 are WP and HOLD. The bit is non-volatile: write it only where needed. */
static bool enable_quad(void)
{
    uint32_t status = read_register(READ_STATUS_2, 1);

    if (status & STATUS_2_QE) {
        return true;
    }
    if (!enable_write()) {
        return false;
    }
    QUADSPI->DLR = 0;
    QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_DATA(1u) | QUADSPI_CCR_INSTRUCTION(1u, WRITE_STATUS_2);
    QUADSPI_DR_BYTE = (uint8_t)(status | STATUS_2_QE);
    return finish() && wait_ready(WRITE_STATUS_MS) && (read_register(READ_STATUS_2, 1) & STATUS_2_QE);
}

static bool map(void)
{
    if ((QUADSPI->CCR & QUADSPI_CCR_FMODE) == QUADSPI_CCR_MAPPED) {
        return true;
    }
    if (!stop()) {
        return false;
    }
    QUADSPI->ABR = NO_CONTINUOUS_READ;
    QUADSPI->CCR = QUADSPI_CCR_MAPPED | QUADSPI_CCR_DATA(3u) | QUADSPI_CCR_DUMMY(4u) | QUADSPI_CCR_ALTERNATE_8(3u) |
                   QUADSPI_CCR_ADDRESS_24(3u) | QUADSPI_CCR_INSTRUCTION(1u, FAST_READ_QUAD_IO);
    return true;
}

static bool contains(uint32_t address, uint32_t size)
{
    return address >= BASE && size <= SIZE && address - BASE <= SIZE - size;
}

int Init(void)
{
    ready = start_quadspi() && reset_chip() && enable_quad() && map();
    return ready;
}

int DeInit(void)
{
    if (ready) {
        stop();
        reset_quadspi();
        RCC_AHB3ENR &= ~RCC_AHB3_QSPI;
        GPIOB->MODER |= 3u << 2 * 6 | 3u << 2 * 2; /* analog, as after reset */
        GPIOF->MODER |= 3u << 2 * 6 | 3u << 2 * 7 | 3u << 2 * 8 | 3u << 2 * 9;
    }
    ready = false;
    return 1;
}

/* Program size bytes, 1 to 256, within one page. */
static bool program_page(uint32_t address, const uint8_t *data, uint32_t size)
{
    if (!enable_write()) {
        return false;
    }
    QUADSPI->DLR = size - 1u;
    QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_DATA(3u) | QUADSPI_CCR_ADDRESS_24(1u) |
                   QUADSPI_CCR_INSTRUCTION(1u, QUAD_PAGE_PROGRAM);
    QUADSPI->AR = address - BASE;

    for (uint32_t n = 0; n < size;) {
        if (n % QUADSPI_FIFO_BYTES == 0 && !wait_flags(QUADSPI_SR_FTF, QUADSPI_SR_FTF)) {
            return false;
        }
        if (size - n >= sizeof(uint32_t)) {
            uint32_t word;

            __builtin_memcpy(&word, data + n, sizeof word); /* data may be unaligned */
            QUADSPI->DR = word;
            n += sizeof word;
        } else {
            QUADSPI_DR_BYTE = data[n++];
        }
    }
    return finish() && wait_ready(PAGE_PROGRAM_MS);
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    if (!ready || !contains(address, size) || !stop()) {
        return 0;
    }
    while (size != 0) {
        uint32_t chunk = PAGE - address % PAGE;

        if (chunk > size) {
            chunk = size;
        }
        if (!program_page(address, buffer, chunk)) {
            return 0;
        }
        address += chunk;
        buffer += chunk;
        size -= chunk;
    }
    return 1;
}

int SectorErase(uint32_t start, uint32_t end)
{
    if (!ready || !contains(start, 1) || !contains(end, 1) || !stop()) {
        return 0;
    }
    for (uint32_t address = start - start % SECTOR; address <= end; address += SECTOR) {
        if (!enable_write()) {
            return 0;
        }
        QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_ADDRESS_24(1u) | QUADSPI_CCR_INSTRUCTION(1u, SECTOR_ERASE);
        QUADSPI->AR = address - BASE;
        if (!finish() || !wait_ready(SECTOR_ERASE_MS)) {
            return 0;
        }
    }
    return 1;
}

int MassErase(uint32_t parallelism)
{
    (void)parallelism;
    return ready && stop() && enable_write() && send(1u, CHIP_ERASE) && wait_ready(CHIP_ERASE_MS);
}

uint64_t Verify(uint32_t address, uint32_t buffer, uint32_t words, uint32_t misalignment)
{
    const uint8_t *stored = (const uint8_t *)address;
    const uint8_t *wanted = (const uint8_t *)buffer;
    uint32_t first = misalignment & 15u;
    uint32_t end = words * 4u - (misalignment >> 16 & 15u);
    uint32_t difference = 0;
    uint32_t sum = 0;

    if (!ready || !contains(address, words * 4u) || !map()) {
        return address;
    }
    for (uint32_t n = first; n < end; n++) {
        uint8_t byte = stored[n];

        sum += byte;
        if (byte != wanted[n] && difference == 0) {
            difference = address + n;
        }
    }
    return (uint64_t)sum << 32 | difference;
}

#ifndef WITHOUT_READ_AND_CHECKSUM

int Read(uint32_t address, uint32_t size, uint8_t *buffer)
{
    const uint8_t *stored = (const uint8_t *)address;

    if (!ready || !contains(address, size) || !map()) {
        return 0;
    }
    while (size >= sizeof(uint32_t)) {
        __builtin_memcpy(buffer, stored, sizeof(uint32_t)); /* one load and one store: either may be unaligned */
        stored += sizeof(uint32_t);
        buffer += sizeof(uint32_t);
        size -= sizeof(uint32_t);
    }
    while (size != 0) {
        *buffer++ = *stored++;
        size--;
    }
    return 1;
}

uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial)
{
    const uint8_t *stored = (const uint8_t *)address;

    if (!ready || !contains(address, size) || !map()) {
        return 0;
    }
    while (size != 0) {
        initial += *stored++;
        size--;
    }
    return initial;
}

#endif
