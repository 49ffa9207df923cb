/*
 * The demo loader with a habit of real loaders, which their own hosts never notice, chosen by defines:
 *   STRAYS              Init and Write write a word STRAY_OFFSET bytes behind the image, as code with a wild pointer
 *                       or a heap that no section covers does
 *   INIT_DELAYS=n       Init waits n ms in HAL_Delay, and WRITE_DELAYS=n each Write: the milliseconds are counted by
 *                       the loader's own SysTick handler, through its own vector table, which Init sets. The tick
 *                       stays on
 *   SUSPENDS_TICK       Init turns the tick off again at its end
 *   WHOLE_PAGES_ONLY    Write returns 0 unless address and size are multiples of a page
 *   PAGE_STARTS_ONLY    Write that does not start on a page programs nothing and returns 1
 *   WRITE_ERASES        SectorErase does nothing and returns 1; Write erases each unit of 4 KiB that it touches before
 *                       it programs there, and what lies beside the data in that unit is lost
 *   INIT_WAITS_FOR_BUSY Init returns 0 if QUADSPI was on already and stays busy, as it does once mapped memory was read
 */
#include <stdbool.h>

#define Init plain_init
#define Write plain_write
#define SectorErase plain_sector_erase
#define NAME "HABITS"
#include "w25q128_h750_qspi.c"
#undef Init
#undef Write
#undef SectorErase

int Init(void);
int Write(uint32_t address, uint32_t size, const uint8_t *buffer);
int SectorErase(uint32_t start, uint32_t end);

#ifdef STRAYS

#define STRAY_OFFSET 0x1A0u
#define STRAY_WORD 0x57A757A7u

extern uint8_t image_end[]; /* from the linker script */

static void stray(void)
{
    REGISTER((uint32_t)image_end + STRAY_OFFSET) = STRAY_WORD;
}

#else

static void stray(void)
{
}

#endif

#if defined INIT_DELAYS || defined WRITE_DELAYS

/* ARMv7-M ARM, B3.2.5 (VTOR) and B3.3 (SysTick). */
#define SCB_VTOR REGISTER(0xE000ED08u)
#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define SYST_CSR_ON 7u /* processor clock, interrupt, enable */
#define CYCLES_PER_MS 64000u /* HSI, after reset */

static volatile uint32_t uwTick;

static void SysTick_Handler(void)
{
    uwTick++;
}

static void Default_Handler(void)
{
    for (;;) {
    }
}

/* VTOR ignores its lowest seven bits. The first word is of use after a reset only. */
__attribute__((aligned(128))) static void (*const vectors[16])(void) = {
    [1] = Default_Handler,
    [2] = Default_Handler,
    [3] = Default_Handler,
    [4] = Default_Handler,
    [5] = Default_Handler,
    [6] = Default_Handler,
    [11] = Default_Handler,
    [12] = Default_Handler,
    [14] = Default_Handler,
    [15] = SysTick_Handler,
};

static void start_tick(void)
{
    SCB_VTOR = (uint32_t)vectors;
    SYST_RVR = CYCLES_PER_MS - 1u;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ON;
}

static void end_tick(void)
{
#ifdef SUSPENDS_TICK
    SYST_CSR = 0;
#endif
}

static void HAL_Delay(uint32_t ms)
{
    for (uint32_t start = uwTick; uwTick - start < ms;) {
    }
}

#else

static void start_tick(void)
{
}

static void end_tick(void)
{
}

static void HAL_Delay(uint32_t ms)
{
    (void)ms;
}

#endif

#ifndef INIT_DELAYS
#define INIT_DELAYS 0
#endif
#ifndef WRITE_DELAYS
#define WRITE_DELAYS 0
#endif

#ifdef INIT_WAITS_FOR_BUSY

/* What HAL_QSPI_Init does first: wait for BUSY to go. Nothing ends the mapped mode that the Init before began. */
static bool quadspi_is_idle(void)
{
    return !(RCC_AHB3ENR & RCC_AHB3_QSPI) || wait_flags(QUADSPI_SR_BUSY, 0);
}

#else

static bool quadspi_is_idle(void)
{
    return true;
}

#endif

int Init(void)
{
    bool done;

    stray();
    start_tick();
    HAL_Delay(INIT_DELAYS);
    done = quadspi_is_idle() && plain_init();
    end_tick();
    return done;
}

#ifdef WRITE_ERASES

#define UNIT 0x1000u
#define ERASE_UNIT 0x20u /* W25Q128JV data sheet, 8.1.2 */
#define ERASE_UNIT_MS (2u * 400u)

static bool erase_unit(uint32_t address)
{
    if (!stop() || !enable_write()) {
        return false;
    }
    QUADSPI->CCR = QUADSPI_CCR_WRITE | QUADSPI_CCR_ADDRESS_24(1u) | QUADSPI_CCR_INSTRUCTION(1u, ERASE_UNIT);
    QUADSPI->AR = address - BASE;
    return finish() && wait_ready(ERASE_UNIT_MS);
}

static bool store(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    if (!ready || !contains(address, size)) {
        return false;
    }
    while (size != 0) {
        uint32_t chunk = UNIT - address % UNIT;

        if (chunk > size) {
            chunk = size;
        }
        if (!erase_unit(address - address % UNIT) || !plain_write(address, chunk, buffer)) {
            return false;
        }
        address += chunk;
        buffer += chunk;
        size -= chunk;
    }
    return true;
}

#else

static bool store(uint32_t address, uint32_t size, const uint8_t *buffer)
{
#if defined WHOLE_PAGES_ONLY
    if (address % PAGE != 0 || size % PAGE != 0) {
        return false;
    }
#elif defined PAGE_STARTS_ONLY
    if (address % PAGE != 0) {
        return true;
    }
#endif
    return plain_write(address, size, buffer);
}

#endif

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    stray();
    HAL_Delay(WRITE_DELAYS);
    return store(address, size, buffer);
}

int SectorErase(uint32_t start, uint32_t end)
{
#ifdef WRITE_ERASES
    return start <= end;
#else
    return plain_sector_erase(start, end);
#endif
}
