/*
 * The demo loader with one thing wrong, chosen by defines.
 *
 * On entry to a function, IN_INIT, IN_WRITE, IN_READ, IN_ERASE, IN_MASS_ERASE, IN_VERIFY or IN_CHECKSUM is one of:
 *   hang               never returns
 *   wait_for_systick   returns after 3 SysTick interrupts, which come only while PRIMASK is 0, every TICK_CYCLES cycles
 *   breakpoint         executes a BKPT of its own
 *   bus_fault          reads where nothing answers: precise bus fault, address in BFAR
 *   bus_fault_by_write writes where nothing answers: bus fault, imprecise in hardware
 *   branch_nowhere     jumps where nothing answers: bus fault on instruction fetch
 *   branch_to_device   jumps into a peripheral: MemManage, the region is execute-never
 *   branch_to_arm      jumps to an even address: INVSTATE
 *   undefined          executes an undefined instruction: UNDEFINSTR
 *   unaligned          loads two words from an odd address at once: UNALIGNED
 *   overflow           calls itself until the stack is out of RAM
 *   overflow_bss       writes 5000 bytes into an array of 16, then executes an undefined instruction
 *   huge_frame         has 1 MiB of variables, more than there is RAM below the stack
 *   wait_for_no_tick   waits for a variable that nobody counts up, as HAL_Delay does without a SysTick interrupt
 *   turn_all_over      changes registers of core, FPU and System Control Space that a program may need as they were
 *
 * Afterwards the function does its work, but for:
 *   INIT_RETURNS=n, WRITE_RETURNS=n, READ_RETURNS=n, ERASE_RETURNS=n   does its work, then returns n
 *   WRITE_DOES_NOTHING, READ_DOES_NOTHING, ERASE_DOES_NOTHING          returns 1 at once
 *   ERASES_ONE_MORE        erases the sector behind the last one, too
 *   READ_SHORT             moves all but the last 16 bytes that it was asked for
 *   WRITE_SHIFTED          programs every byte one address too high
 *   VERIFY_SAYS_SAME       returns r0 = 0 and r1 = 0 without looking
 *   USES_R9                counts calls at [r9 + 4], and fails where the count was not kept
 *   REQUIRES_INIT_TWICE    the first Init after loading returns 0
 *   CHECKS_BSS             Init returns 0 unless .bss was zeroed and .data loaded
 *   USES_STACK=n           Write needs n bytes of stack
 */
#include <stdbool.h>

#define Init good_init
#define Write good_write
#define Read good_read
#define SectorErase good_sector_erase
#define MassErase good_mass_erase
#define Verify good_verify
#define CheckSum good_checksum
#define NAME "MISBEHAVING"
#include "w25q128_h750_qspi.c"
#undef Init
#undef Write
#undef Read
#undef SectorErase
#undef MassErase
#undef Verify
#undef CheckSum

int Init(void);
int Write(uint32_t address, uint32_t size, const uint8_t *buffer);
int Read(uint32_t address, uint32_t size, uint8_t *buffer);
int SectorErase(uint32_t start, uint32_t end);
int MassErase(uint32_t parallelism);
uint64_t Verify(uint32_t address, uint32_t buffer, uint32_t words, uint32_t misalignment);
uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial);

#define UNUSED __attribute__((unused))
#define NOTHING_HERE 0x60000000u /* FMC bank 1, which nobody enabled */

#ifndef IN_INIT
#define IN_INIT behave
#endif
#ifndef IN_WRITE
#define IN_WRITE behave
#endif
#ifndef IN_READ
#define IN_READ behave
#endif
#ifndef IN_ERASE
#define IN_ERASE behave
#endif
#ifndef IN_MASS_ERASE
#define IN_MASS_ERASE behave
#endif
#ifndef IN_VERIFY
#define IN_VERIFY behave
#endif
#ifndef IN_CHECKSUM
#define IN_CHECKSUM behave
#endif

UNUSED static void behave(void)
{
}

UNUSED static void hang(void)
{
    for (;;) {
        __asm volatile("nop");
    }
}

UNUSED static void breakpoint(void)
{
    __asm volatile("bkpt #0");
}

UNUSED static void bus_fault(void)
{
    (void)REGISTER(NOTHING_HERE);
}

UNUSED static void bus_fault_by_write(void)
{
    REGISTER(NOTHING_HERE) = 0;
}

static void branch(uint32_t address)
{
    __asm volatile("blx %0" : : "r"(address) : "lr", "memory");
}

UNUSED static void branch_nowhere(void)
{
    branch(NOTHING_HERE | 1u);
}

UNUSED static void branch_to_device(void)
{
    branch((uint32_t)QUADSPI | 1u);
}

UNUSED static void branch_to_arm(void)
{
    branch((uint32_t)behave & ~1u);
}

UNUSED static void undefined(void)
{
    __asm volatile("udf #0");
}

UNUSED static void unaligned(void)
{
    static uint32_t words[3];

    __asm volatile("ldm %0, {r2, r3}" : : "r"((uint32_t)words + 1u) : "r2", "r3", "memory");
}

UNUSED static void turn_all_over(void)
{
    __asm volatile("mov r0, %0\n\t"
                   ".inst.w 0xEE000A10\n\t" /* vmov s0, r0 */
                   ".inst.w 0xEE080A90\n\t" /* vmov s17, r0 */
                   ".inst.w 0xEE0F0A90\n\t" /* vmov s31, r0 */
                   ".inst.w 0xEEE10A10\n\t" /* vmsr fpscr, r0 */
                   "msr psp, r0\n\t"
                   "msr basepri, r0"
                   :
                   : "r"(0x03000010u)
                   : "r0");
    REGISTER(0xE000E014u) = 0x1234u;          /* SYST_RVR */
    REGISTER(0xE000E010u) = 5u;               /* SYST_CSR: on, without interrupts */
    REGISTER(0xE000E100u) = 1u << 3;          /* NVIC_ISER0 */
    REGISTER(0xE000E404u) = 0x10203040u;      /* NVIC_IPR1 */
    REGISTER(0xE000ED08u) = 0x24000000u;      /* VTOR */
    REGISTER(0xE000ED0Cu) = 0x05FA0500u;      /* AIRCR: PRIGROUP */
    REGISTER(0xE000ED20u) = 0x10200000u;      /* SHPR3 */
    REGISTER(0xE000ED98u) = 0u;               /* MPU_RNR, RBAR, RASR: region 0 off */
    REGISTER(0xE000ED9Cu) = 0x20000000u;
    REGISTER(0xE000EDA0u) = 0u;
    REGISTER(0xE000ED98u) = 9u;
}

UNUSED static void overflow(void)
{
    /* Not C: a compiler may turn endless recursion into a loop. */
    __asm volatile("1: push {r0-r7}\n"
                   "b 1b");
}

UNUSED static void overflow_bss(void)
{
    static uint8_t small[16];

    for (volatile uint8_t *at = small; at < small + 5000; at++) {
        *at = 0x11;
    }
    __asm volatile("udf #0");
}

UNUSED static void huge_frame(void)
{
    __asm volatile("sub sp, sp, %0\n"
                   "str r0, [sp]\n"
                   "add sp, sp, %0"
                   :
                   : "r"(1u << 20)
                   : "memory");
}

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define SCB_VTOR REGISTER(0xE000ED08u)
#define SYSTICK_EXCEPTION 15

#ifndef TICK_CYCLES
#define TICK_CYCLES 64000 /* 1 ms with the clock after reset */
#endif

static volatile uint32_t ticks;

UNUSED static void count_tick(void)
{
    ticks++;
}

UNUSED static void wait_for_no_tick(void)
{
    for (uint32_t start = ticks; ticks - start < 3;) {
    }
}

UNUSED static void wait_for_systick(void)
{
    /* VTOR ignores its lowest seven bits (ARMv7-M ARM, B3.2.5). */
    static uint32_t vectors[SYSTICK_EXCEPTION + 1] __attribute__((aligned(128)));

    vectors[SYSTICK_EXCEPTION] = (uint32_t)count_tick;
    SCB_VTOR = (uint32_t)vectors;
    SYST_RVR = TICK_CYCLES - 1;
    SYST_CVR = 0;
    SYST_CSR = 7; /* processor clock, interrupt, enable */
    for (uint32_t start = ticks; ticks - start < 3;) {
    }
    SYST_CSR = 0;
}

#ifdef USES_STACK
__attribute__((noinline)) static void use_stack(void)
{
    uint8_t frame[USES_STACK];

    for (uint32_t n = 0; n < USES_STACK; n++) {
        frame[n] = (uint8_t)n;
    }
    __asm volatile("" : : "r"(frame) : "memory");
}
#endif

UNUSED static uint32_t calls;

#ifdef USES_R9
/* As loaders whose variables lie relative to r9 do. */
static bool prepared(void)
{
    uint32_t base;

    __asm volatile("mov %0, r9" : "=r"(base));
    if (REGISTER(base + 4) != calls) {
        return false;
    }
    REGISTER(base + 4) = ++calls;
    return true;
}
#else
static bool prepared(void)
{
    return true;
}
#endif

#ifdef CHECKS_BSS
static bool memory_was_prepared(void)
{
    static volatile uint32_t initialised = 0x600DDA7A;
    static volatile uint32_t zeroed[8];
    bool good = initialised == 0x600DDA7A;

    for (uint32_t n = 0; n < 8; n++) {
        good = good && zeroed[n] == n * calls;
        zeroed[n] = n; /* as the next call has to find it */
    }
    calls = 1;
    return good;
}
#endif

int Init(void)
{
    IN_INIT();
#ifdef REQUIRES_INIT_TWICE
    if (calls++ == 0) {
        return 0;
    }
#endif
#ifdef CHECKS_BSS
    if (!memory_was_prepared()) {
        return 0;
    }
#endif
#ifdef INIT_RETURNS
    good_init();
    return INIT_RETURNS;
#else
    return prepared() && good_init();
#endif
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    IN_WRITE();
#ifdef USES_STACK
    use_stack();
#endif
#if defined WRITE_DOES_NOTHING
    return address != 0 || size != 0 || buffer != 0;
#elif defined WRITE_SHIFTED
    return good_write(address + 1, size - 1, buffer);
#elif defined WRITE_RETURNS
    good_write(address, size, buffer);
    return WRITE_RETURNS;
#else
    return prepared() && good_write(address, size, buffer);
#endif
}

int Read(uint32_t address, uint32_t size, uint8_t *buffer)
{
    IN_READ();
#if defined READ_DOES_NOTHING
    return address != 0 || size != 0 || buffer != 0;
#elif defined READ_SHORT
    return good_read(address, size > 16u ? size - 16u : size, buffer);
#elif defined READ_RETURNS
    good_read(address, size, buffer);
    return READ_RETURNS;
#else
    return prepared() && good_read(address, size, buffer);
#endif
}

int SectorErase(uint32_t start, uint32_t end)
{
    IN_ERASE();
#if defined ERASE_DOES_NOTHING
    return start <= end;
#elif defined ERASES_ONE_MORE
    return good_sector_erase(start, BASE + SIZE - 1 - end < SECTOR ? end : end + SECTOR);
#elif defined ERASE_RETURNS
    good_sector_erase(start, end);
    return ERASE_RETURNS;
#else
    return prepared() && good_sector_erase(start, end);
#endif
}

int MassErase(uint32_t parallelism)
{
    IN_MASS_ERASE();
#if defined ERASE_DOES_NOTHING
    return parallelism == 0;
#elif defined ERASE_RETURNS
    good_mass_erase(parallelism);
    return ERASE_RETURNS;
#else
    return prepared() && good_mass_erase(parallelism);
#endif
}

uint64_t Verify(uint32_t address, uint32_t buffer, uint32_t words, uint32_t misalignment)
{
    IN_VERIFY();
#ifdef VERIFY_SAYS_SAME
    return 0u * (address + buffer + words + misalignment);
#else
    return prepared() ? good_verify(address, buffer, words, misalignment) : address;
#endif
}

uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial)
{
    IN_CHECKSUM();
    return prepared() ? good_checksum(address, size, initial) : 0;
}
