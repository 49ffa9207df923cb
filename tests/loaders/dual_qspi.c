/*
 * External loader: two Winbond W25Q128JV on QUADSPI of an STM32H750, in dual-flash mode.
 *
 *     CLK PB2    NCS PB6    first chip: IO0 PF8    IO1 PF9    IO2 PF7    IO3 PF6
 *                           second chip: IO0 PE7    IO1 PE8    IO2 PE9    IO3 PE10
 *
 * Even bytes lie in the first chip, odd ones in the second. Bit 0 of AR is stuck at 0, and bit 0 of DLR at 1 (ST RM0433
 * rev 8, 23.5.7 and 23.5.5). As real loaders do, Read and Write give the controller the address as it is: from an odd
 * one they read or program everything one byte too low, and return 1.
 *
 * Init leaves the chips mapped, where odd addresses are fine; Write, Read and the erases leave them unmapped.
 *   SECTOR=0x2000u      4 KiB of each chip instead of 64
 *   COUNTS_BY_DLR       moves DLR + 1 bytes, as HAL_QSPI_Receive and HAL_QSPI_Transmit do: one more than asked for
 *                       where that is an odd number
 *   STATUS_READS=n      gives up after so many
 */
#include <stdbool.h>

#include "external_loader.h"
#include "stm32h750.h"

#define BASE 0x90000000u
#define ADDRESS_BITS 25u
#define SIZE (1u << ADDRESS_BITS)
#define PAGE 512u

#ifndef SECTOR
#define SECTOR 0x20000u
#endif

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "DUAL_QSPI",
    .type = SPI_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = PAGE,
    .erased_value = 0xFF,
    .sectors = {{SIZE / SECTOR, SECTOR}},
};

/* Instructions: W25Q128JV data sheet rev F, 8.1.2 to 8.1.3. */
enum {
    WRITE_ENABLE = 0x06,
    READ_STATUS_1 = 0x05,
    READ_DATA = 0x03,
    PAGE_PROGRAM = 0x02,
    SECTOR_ERASE = SECTOR == 0x2000u ? 0x20 : 0xD8,
    CHIP_ERASE = 0xC7,
};

/* Both chips' status register 1, as one halfword. */
#define BOTH(bits) ((bits) | (bits) << 8)
#define BUSY BOTH(0x01u)
#define WEL BOTH(0x02u)

#define QUADSPI_CR_DFM (1u << 6)
#define CONTROL (QUADSPI_CR_PRESCALER(2u) | QUADSPI_CR_DFM | QUADSPI_CR_EN)
#define QUADSPI_DR_HALFWORD (*(volatile uint16_t *)&QUADSPI->DR)

#define RCC_AHB4_GPIOE (1u << 4)
#define GPIOE ((struct gpio *)0x58021000u)

#define FLAG_READS 100000u
#ifndef STATUS_READS
#define STATUS_READS 100000000u /* more than a chip erase takes */
#endif

static bool wait_flags(uint32_t mask, uint32_t value)
{
    for (uint32_t n = FLAG_READS; n != 0; n--) {
        if (QUADSPI->SR & QUADSPI_SR_TEF) {
            return false;
        }
        if ((QUADSPI->SR & mask) == value) {
            return true;
        }
    }
    return false;
}

static bool stop(void)
{
    QUADSPI->CR |= QUADSPI_CR_ABORT;
    QUADSPI->FCR = QUADSPI_FCR_ALL;
    return wait_flags(QUADSPI_SR_BUSY, 0);
}

/* Wait for the end of a transaction, and throw away what is left in the FIFO. */
static bool finish(void)
{
    return wait_flags(QUADSPI_SR_TCF, QUADSPI_SR_TCF) && stop();
}

static bool send(uint32_t opcode)
{
    QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_INSTRUCTION(1u, opcode);
    return finish();
}

static uint32_t statuses(void)
{
    uint32_t both = BUSY;

    QUADSPI->DLR = 1u;
    QUADSPI->CCR = QUADSPI_CCR_READ | QUADSPI_CCR_DATA(1u) | QUADSPI_CCR_INSTRUCTION(1u, READ_STATUS_1);
    if (wait_flags(QUADSPI_SR_TCF, QUADSPI_SR_TCF)) {
        both = QUADSPI_DR_HALFWORD;
    }
    stop();
    return both;
}

static bool wait_ready(void)
{
    for (uint32_t n = STATUS_READS; n != 0; n--) {
        if (!(statuses() & BUSY)) {
            return true;
        }
    }
    return false;
}

static bool enable_write(void)
{
    return send(WRITE_ENABLE) && (statuses() & WEL) == WEL;
}

static void map(void)
{
    QUADSPI->CCR =
        QUADSPI_CCR_MAPPED | QUADSPI_CCR_DATA(1u) | QUADSPI_CCR_ADDRESS_24(1u) | QUADSPI_CCR_INSTRUCTION(1u, READ_DATA);
}

static void configure_pin(struct gpio *port, uint32_t pin, uint32_t function)
{
    uint32_t half = 4u * (pin % 8u);

    port->AFR[pin / 8u] = (port->AFR[pin / 8u] & ~(15u << half)) | function << half;
    port->OSPEEDR |= 2u << 2u * pin;
    port->MODER = (port->MODER & ~(3u << 2u * pin)) | 2u << 2u * pin;
}

/* STM32H750 data sheet DS12556 rev 6, table 9. */
static void configure_pins(void)
{
    configure_pin(GPIOB, 6, 10); /* NCS of both */
    configure_pin(GPIOB, 2, 9);  /* CLK */
    configure_pin(GPIOF, 8, 10);
    configure_pin(GPIOF, 9, 10);
    configure_pin(GPIOF, 7, 9);
    configure_pin(GPIOF, 6, 9);
    for (uint32_t pin = 7; pin <= 10; pin++) {
        configure_pin(GPIOE, pin, 10);
    }
}

static bool contains(uint32_t address, uint32_t size)
{
    return address >= BASE && size <= SIZE && address - BASE <= SIZE - size;
}

int Init(void)
{
    RCC_AHB3ENR |= RCC_AHB3_QSPI;
    RCC_AHB4ENR |= RCC_AHB4_GPIOB | RCC_AHB4_GPIOE | RCC_AHB4_GPIOF;
    (void)RCC_AHB4ENR;
    RCC_AHB3RSTR |= RCC_AHB3_QSPI;
    (void)RCC_AHB3RSTR;
    RCC_AHB3RSTR &= ~RCC_AHB3_QSPI;
    configure_pins();

    /* One address bit more than the chips have: errata sheet ES0392, "Memory-mapped read of last memory byte fails". */
    QUADSPI->DCR = QUADSPI_DCR_FSIZE(ADDRESS_BITS + 1u) | QUADSPI_DCR_CSHT(2u);
    QUADSPI->CR = CONTROL;
    if (!wait_ready()) {
        return 0;
    }
    map();
    return 1;
}

/* Describe a transaction to the controller, and return how many bytes it makes of size. */
static uint32_t begin(uint32_t ccr, uint32_t address, uint32_t size)
{
    QUADSPI->DLR = size - 1u;
    QUADSPI->CCR = ccr | QUADSPI_CCR_DATA(1u) | QUADSPI_CCR_ADDRESS_24(1u);
    QUADSPI->AR = address - BASE;
    return QUADSPI->DLR + 1u;
}

int Read(uint32_t address, uint32_t size, uint8_t *buffer)
{
    uint32_t count = size;

    if (!contains(address, size) || !stop()) {
        return 0;
    }
    if (size == 0) {
        return 1;
    }
#ifdef COUNTS_BY_DLR
    count = begin(QUADSPI_CCR_READ | QUADSPI_CCR_INSTRUCTION(1u, READ_DATA), address, size);
#else
    begin(QUADSPI_CCR_READ | QUADSPI_CCR_INSTRUCTION(1u, READ_DATA), address, size);
#endif
    for (uint32_t n = 0; n < count; n++) {
        if (!wait_flags(QUADSPI_SR_FTF, QUADSPI_SR_FTF)) {
            return 0;
        }
        buffer[n] = QUADSPI_DR_BYTE;
    }
    return finish();
}

/* Program within one page of both chips. */
static bool program_page(uint32_t address, const uint8_t *data, uint32_t size)
{
    uint32_t count;

    if (!enable_write()) {
        return false;
    }
    count = begin(QUADSPI_CCR_WRITE | QUADSPI_CCR_INSTRUCTION(1u, PAGE_PROGRAM), address, size);
    for (uint32_t n = 0; n < count; n++) {
        if (!wait_flags(QUADSPI_SR_FTF, QUADSPI_SR_FTF)) {
            return false;
        }
#ifdef COUNTS_BY_DLR
        QUADSPI_DR_BYTE = data[n];
#else
        QUADSPI_DR_BYTE = n < size ? data[n] : 0xFFu;
#endif
    }
    return finish() && wait_ready();
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    if (!contains(address, size) || !stop()) {
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
    if (!contains(start, 1) || !contains(end, 1) || !stop()) {
        return 0;
    }
    for (uint32_t address = start - start % SECTOR; address <= end; address += SECTOR) {
        if (!enable_write()) {
            return 0;
        }
        QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_ADDRESS_24(1u) | QUADSPI_CCR_INSTRUCTION(1u, SECTOR_ERASE);
        QUADSPI->AR = address - BASE;
        if (!finish() || !wait_ready()) {
            return 0;
        }
    }
    return 1;
}

int MassErase(uint32_t parallelism)
{
    (void)parallelism;
    return stop() && enable_write() && send(CHIP_ERASE) && wait_ready();
}
