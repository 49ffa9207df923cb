/*
 * A program to debug: an STM32H750 in full swing, with its data where an external loader goes.
 *
 * SysTick interrupts, an enabled interrupt, MPU, FPU, a vector table in RAM, and threads' own stack and privileges: all
 * that a loader must not meet and has to be given back. work() computes a sum that comes out right only when
 * registers, stack and data are what they were.
 *
 * table lies in external flash and is read through the QUADSPI window, which main() sets up by itself.
 */
#include "stm32h750.h"

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define NVIC_ISER(n) REGISTER(0xE000E100u + 4u * (n))
#define NVIC_ISPR(n) REGISTER(0xE000E200u + 4u * (n))
#define NVIC_IPR(n) REGISTER(0xE000E400u + 4u * (n))
#define VTOR REGISTER(0xE000ED08u)
#define AIRCR REGISTER(0xE000ED0Cu)
#define SHPR3 REGISTER(0xE000ED20u)
#define SHCSR REGISTER(0xE000ED24u)
#define CPACR REGISTER(0xE000ED88u)
#define MPU_CTRL REGISTER(0xE000ED94u)
#define MPU_RNR REGISTER(0xE000ED98u)
#define MPU_RBAR REGISTER(0xE000ED9Cu)
#define MPU_RASR REGISTER(0xE000EDA0u)

#define EXTERNAL __attribute__((section(".qspi"), used))
#define ROUNDS 200u

extern uint32_t _main_stack[];

volatile uint32_t ticks, sum, seen;
uint32_t noise[1024];
uint32_t initialised = 0x600DDA7Au;
#ifdef DATA_IN_RAM
__attribute__((section(".dtcm"), used)) volatile uint32_t more[64] = {0x600DDA7Au, [63] = 0x600DDA7Bu};
#define DATA_IS_RIGHT (initialised == 0x600DDA7Au && more[0] == 0x600DDA7Au && more[63] == 0x600DDA7Bu)
#else
#define DATA_IS_RIGHT (initialised == 0x600DDA7Au)
#endif

EXTERNAL const volatile uint32_t table[300] = {0x13579BDFu, 0x2468ACE0u, [299] = 0xFEEDC0DEu};

void Reset_Handler(void);
void good(void);
void bad(void);
void done(void);
uint32_t work(uint32_t seed, uint32_t rounds);

static void Fault_Handler(void)
{
    for (;;) {
    }
}

void SysTick_Handler(void)
{
    ticks++;
}

static void Interrupt_Handler(void)
{
    seen++;
}

typedef void (*vector)(void);

#define FAULT Fault_Handler
__attribute__((section(".vectors"), used)) const vector vectors[16 + 96] = {
    (vector)_main_stack, Reset_Handler, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT,
    FAULT, FAULT, SysTick_Handler, [16 + 6] = Interrupt_Handler, [16 + 92] = Interrupt_Handler,
};
__attribute__((section(".ram_vectors"), aligned(512))) vector ram_vectors[16 + 96];

__attribute__((noinline)) void good(void)
{
    __asm volatile("");
}

__attribute__((noinline)) void bad(void)
{
    __asm volatile("");
}

__attribute__((noinline)) void done(void)
{
    __asm volatile("");
}

__attribute__((noinline)) uint32_t work(uint32_t seed, uint32_t rounds)
{
    uint32_t local = seed;
    uint32_t history[16];

    for (uint32_t n = 0; n < 16u; n++) {
        history[n] = n;
    }
    for (uint32_t n = 0; n < rounds; n++) {
        local = local * 1664525u + 1013904223u;
        history[n % 16u] ^= local;
        noise[n % 1024u] += history[(n + 5u) % 16u];
    }
    for (uint32_t n = 0; n < 16u; n++) {
        local += history[n] + noise[n];
    }
    return local;
}

static void map_external_flash(void)
{
    RCC_AHB3ENR |= RCC_AHB3_QSPI;
    RCC_AHB4ENR |= RCC_AHB4_GPIOB | RCC_AHB4_GPIOF;
    (void)RCC_AHB4ENR;
    RCC_AHB3RSTR |= RCC_AHB3_QSPI;
    RCC_AHB3RSTR &= ~RCC_AHB3_QSPI;
    GPIOB->MODER = (GPIOB->MODER & ~(3u << 4 | 3u << 12)) | 2u << 4 | 2u << 12;
    GPIOB->AFR[0] = (GPIOB->AFR[0] & ~(15u << 8 | 15u << 24)) | 9u << 8 | 10u << 24;
    GPIOF->MODER = (GPIOF->MODER & ~(15u << 16)) | 10u << 16;
    GPIOF->AFR[1] = (GPIOF->AFR[1] & ~255u) | 0xAAu;
    QUADSPI->DCR = QUADSPI_DCR_FSIZE(24u) | QUADSPI_DCR_CSHT(4u);
    QUADSPI->CR = QUADSPI_CR_PRESCALER(4u) | QUADSPI_CR_EN;
    QUADSPI->CCR = QUADSPI_CCR_MAPPED | QUADSPI_CCR_DATA(1u) | QUADSPI_CCR_ADDRESS_24(1u) |
                   QUADSPI_CCR_INSTRUCTION(1u, 0x03u);
}

static void start(void)
{
    for (uint32_t n = 0; n < 16u + 96u; n++) {
        ram_vectors[n] = vectors[n];
    }
    VTOR = (uint32_t)ram_vectors;
    AIRCR = 0x05FA0300u;
    SHPR3 = 0xE0D00000u;
    SHCSR |= 7u << 16;
    CPACR |= 15u << 20;
    NVIC_IPR(1) = 0x00A00000u;
    NVIC_IPR(23) = 0x00000050u;
    NVIC_ISER(0) = 1u << 6;
    NVIC_ISER(2) = 1u << 28;
    MPU_RNR = 0;
    MPU_RBAR = 0x08000000u;
    MPU_RASR = 6u << 24 | 16u << 1 | 1u; /* 128 KiB, read-only */
    MPU_RNR = 1;
    MPU_RBAR = 0x24070000u;
    MPU_RASR = 1u << 28 | 3u << 24 | 15u << 1 | 1u; /* 64 KiB, never executed */
    MPU_CTRL = 5;
    SYST_RVR = 63999u;
    SYST_CVR = 0;
    SYST_CSR = 7;
}

static void run(void)
{
    /* vmov s0, r0 and vmov s17, r1, which a compiler for soft floats does not assemble */
    __asm volatile("mov r0, %0\n\t"
                   "mov r1, %1\n\t"
                   ".inst.w 0xEE000A10\n\t"
                   ".inst.w 0xEE081A90" ::"r"(0x7FC12345u), "r"(0x40490FDBu)
                   : "r0", "r1");
    for (;;) {
        sum = work(sum + 1u, ROUNDS);
        done();
    }
}

/* Go on as an RTOS thread does: unprivileged, on the process stack, with BASEPRI set. */
__attribute__((naked, noinline)) static void become_thread(void)
{
    __asm volatile("ldr r0, =_thread_stack\n\t"
                   "msr psp, r0\n\t"
                   "movs r0, #0xF0\n\t"
                   "msr basepri, r0\n\t"
                   "movs r0, #2\n\t"
                   "msr control, r0\n\t"
                   "isb\n\t"
                   "b %c0" ::"i"(run));
}

int main(void)
{
    map_external_flash();
    if (DATA_IS_RIGHT && table[0] == 0x13579BDFu && table[299] == 0xFEEDC0DEu) {
        good();
    } else {
        bad();
    }
    start();
    become_thread();
    return 0;
}

extern uint32_t _data_load[], _data_start[], _data_end[], _bss_end[];

__attribute__((noreturn, used)) void Reset_Handler(void)
{
#ifndef DATA_IN_RAM
    uint32_t *from = _data_load;

    for (uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *from++;
    }
#endif
    for (uint32_t *to = _data_end; to < _bss_end; to++) {
        *to = 0;
    }
    main();
    for (;;) {
    }
}
