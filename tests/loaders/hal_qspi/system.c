/*
 * Clocks, time and pins, in the order in which ST's start-up code and HAL go about them.
 * Source of the registers: ST RM0433 rev 8, chapters 6 (PWR), 8 (RCC), 11 (GPIO), 12 (SYSCFG); ARM DDI 0403E, B3.
 */
#include "hal.h"

#define RCC 0x58024400u
#define RCC_CR REG(RCC + 0x00)
#define RCC_CFGR REG(RCC + 0x10)
#define RCC_D1CFGR REG(RCC + 0x18)
#define RCC_D2CFGR REG(RCC + 0x1C)
#define RCC_D3CFGR REG(RCC + 0x20)
#define RCC_PLLCKSELR REG(RCC + 0x28)
#define RCC_PLLCFGR REG(RCC + 0x2C)
#define RCC_PLL1DIVR REG(RCC + 0x30)
#define RCC_PLL1FRACR REG(RCC + 0x34)
#define RCC_CIER REG(RCC + 0x60)
#define RCC_APB4ENR REG(RCC + 0xF4)
#define PWR_CSR1 REG(0x58024804u)
#define PWR_CR3 REG(0x5802480Cu)
#define PWR_D3CR REG(0x58024818u)
#define SYSCFG_PWRCR REG(0x5800042Cu)
#define FLASH_ACR REG(0x52002000u)
#define DBGMCU_IDCODE REG(0x5C001000u)
#define SCB_VTOR REG(0xE000ED08u)
#define SCB_AIRCR REG(0xE000ED0Cu)
#define SCB_CCR REG(0xE000ED14u)
#define SCB_SHPR3 0xE000ED20u
#define SCB_CPACR REG(0xE000ED88u)
#define SYST_CSR REG(0xE000E010u)
#define SYST_RVR REG(0xE000E014u)
#define SYST_CVR REG(0xE000E018u)

volatile uint32_t uwTick;
__attribute__((unused)) static uint32_t SystemCoreClock = 64000000u; /* Hz */

static void modify(uint32_t address, uint32_t clear, uint32_t set)
{
    REG(address) = (REG(address) & ~clear) | set;
}

static hal_status wait_bits(uint32_t address, uint32_t mask, uint32_t value, uint32_t timeout)
{
    uint32_t start = HAL_GetTick();

    while ((REG(address) & mask) != value) {
        if (HAL_GetTick() - start > timeout) {
            return HAL_TIMEOUT;
        }
    }
    return HAL_OK;
}

__attribute__((used)) static void SysTick_Handler(void)
{
    uwTick += 1;
}

__attribute__((used)) static void Default_Handler(void)
{
    for (;;) {
    }
}

#define VECTORS 166 /* 16 of the core, 150 of the STM32H750 */

__attribute__((section(".isr_vector"), used)) static void (*const vectors[VECTORS])(void) = {
    [1 ... 14] = Default_Handler,
    [15] = SysTick_Handler,
    [16 ... VECTORS - 1] = Default_Handler,
};

void SystemInit(void)
{
    SCB_CPACR |= 0xFu << 20; /* CP10 and CP11: the FPU */

    RCC_CR |= 1u;
    RCC_CFGR = 0;
    RCC_CR &= 0xEAF6ED7Fu; /* everything off but HSI */
    RCC_D1CFGR = 0;
    RCC_D2CFGR = 0;
    RCC_D3CFGR = 0;
    RCC_PLLCKSELR = 0x02020200u;
    RCC_PLLCFGR = 0x01FF0000u;
    RCC_PLL1DIVR = 0x01010280u;
    RCC_PLL1FRACR = 0;
    RCC_CR &= ~(1u << 18); /* HSEBYP */
    RCC_CIER = 0;
    if ((DBGMCU_IDCODE & 0xFFFF0000u) < 0x20000000u) {
        REG(0x51008108u) = 1; /* revision Y: the AXI SRAM takes one read at a time */
    }
    REG(0x52004000u) = 0x000030D2u; /* FMC bank 1 off: no speculative accesses */
    SCB_VTOR = 0x24000000u | 0x200u;
}

#ifdef CACHES
static void enable_mpu(void)
{
    __asm volatile("dmb" : : : "memory");
    REG(0xE000ED24u) &= ~(1u << 16); /* MEMFAULTENA */
    REG(0xE000ED94u) = 0;
    REG(0xE000ED98u) = 0;            /* region 0: */
    REG(0xE000ED9Cu) = 0x90000000u;
    REG(0xE000EDA0u) = 0x030B0000u | 23u << 1 | 1u; /* 16 MiB, full access, cacheable, write-back */
    REG(0xE000ED94u) = 5u; /* on, the default map behind it */
    REG(0xE000ED24u) |= 1u << 16;
    __asm volatile("dsb\n isb" : : : "memory");
}

static void enable_caches(void)
{
    uint32_t size, set, way;

    __asm volatile("dsb\n isb" : : : "memory");
    REG(0xE000EF50u) = 0; /* ICIALLU */
    __asm volatile("dsb\n isb" : : : "memory");
    SCB_CCR |= 1u << 17;
    __asm volatile("dsb\n isb" : : : "memory");

    REG(0xE000ED84u) = 0; /* CSSELR: level 1, data */
    __asm volatile("dsb" : : : "memory");
    size = REG(0xE000ED80u); /* CCSIDR */
    set = size >> 13 & 0x7FFFu;
    do {
        way = size >> 3 & 0x3FFu;
        do {
            REG(0xE000EF60u) = set << 5 | way << 30; /* DCISW */
        } while (way-- != 0);
    } while (set-- != 0);
    __asm volatile("dsb" : : : "memory");
    SCB_CCR |= 1u << 16;
    __asm volatile("dsb\n isb" : : : "memory");
}
#endif

static void start_tick(void)
{
#ifdef TICK_INTERRUPT
    SYST_RVR = SystemCoreClock / 1000u - 1u;
    *(volatile uint8_t *)(SCB_SHPR3 + 3) = 0xF0;
    SYST_CVR = 0;
    SYST_CSR = 7;
    *(volatile uint8_t *)(SCB_SHPR3 + 3) = 0x00;
#endif
}

void HAL_Init(void)
{
#ifdef CACHES
    enable_mpu();
    enable_caches();
#endif
    SCB_AIRCR = (SCB_AIRCR & ~0xFFFF0700u) | 0x05FA0300u; /* four bits of preemption priority */
    RCC_APB4ENR |= 1u << 1;                               /* SYSCFG */
    (void)RCC_APB4ENR;
    start_tick();
}

uint32_t HAL_GetTick(void)
{
#ifdef TICK_INTERRUPT
    return uwTick;
#else
    return 1;
#endif
}

void HAL_Delay(uint32_t ms)
{
#ifdef TICK_INTERRUPT
    uint32_t start = HAL_GetTick();

    while (HAL_GetTick() - start < ms + 1u) {
    }
#else
    for (volatile uint32_t n = 0; n < ms * 1000u; n++) {
    }
#endif
}

__attribute__((unused)) static hal_status configure_supply(void)
{
    modify(0x5802480Cu, 7u, 2u); /* LDO; the register can be written once after power-on */
    if (wait_bits(0x58024804u, 1u << 13, 1u << 13, 1000u) != HAL_OK) { /* ACTVOSRDY */
        return HAL_TIMEOUT;
    }
    modify(0x58024818u, 3u << 14, 3u << 14); /* VOS1 */
    (void)PWR_D3CR;
    if (wait_bits(0x58024818u, 1u << 13, 1u << 13, 1000u) != HAL_OK) { /* VOSRDY */
        return HAL_TIMEOUT;
    }
    return HAL_OK;
}

hal_status SystemClock_Config(void)
{
#ifndef CLOCK_RESET
    if (configure_supply() != HAL_OK) {
        return HAL_ERROR;
    }
#ifdef CLOCK_HSE
    modify(RCC, 0, 1u << 16);
    if (wait_bits(RCC, 1u << 17, 1u << 17, 100u) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    const uint32_t source = 2u, divisor = 5u, factor = 160u; /* 25 MHz / 5 * 160 = 800 MHz */
#else
    modify(RCC, 3u << 3, 0); /* HSIDIV */
    if (wait_bits(RCC, 1u << 2, 1u << 2, 2u) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    const uint32_t source = 0u, divisor = 8u, factor = 100u; /* 64 MHz / 8 * 100 = 800 MHz */
#endif
    modify(RCC, 1u << 24, 0); /* PLL1 off */
    if (wait_bits(RCC, 1u << 25, 0, 2u) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    modify(RCC + 0x28, 3u | 0x3Fu << 4, source | divisor << 4);
    RCC_PLL1DIVR = (factor - 1u) | (2u - 1u) << 9 | (4u - 1u) << 16 | (2u - 1u) << 24;
    modify(RCC + 0x2C, 1u, 0); /* no fraction */
    modify(RCC + 0x34, 0x1FFFu << 3, 0);
    modify(RCC + 0x2C, 0xFu, 2u << 2 | 0u << 1);
    modify(RCC + 0x2C, 0, 7u << 16);
    modify(RCC, 0, 1u << 24);
    if (wait_bits(RCC, 1u << 25, 1u << 25, 2u) != HAL_OK) {
        return HAL_TIMEOUT;
    }

    modify(0x52002000u, 0xFu, 4u);
    if ((FLASH_ACR & 0xFu) != 4u) {
        return HAL_ERROR;
    }
    modify(RCC + 0x20, 7u << 4, 4u << 4);
    modify(RCC + 0x1C, 7u << 8, 4u << 8);
    modify(RCC + 0x1C, 7u << 4, 4u << 4);
    modify(RCC + 0x18, 7u << 4, 4u << 4);
    modify(RCC + 0x18, 0xFu, 8u); /* HCLK = SYSCLK / 2 */
    modify(RCC + 0x18, 0xFu << 8, 0);
    modify(RCC + 0x10, 7u, 3u); /* SYSCLK = PLL1 P */
    if (wait_bits(RCC + 0x10, 7u << 3, 3u << 3, 5000u) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    SystemCoreClock = 400000000u;
    start_tick();
#endif
    modify(RCC + 0x4C, 3u << 4, 0); /* QUADSPI from HCLK3 */
    return HAL_OK;
}

void HAL_GPIO_Init(uint32_t port, const struct gpio_init *init)
{
    for (uint32_t position = 0; init->pins >> position != 0; position++) {
        if (!(init->pins & 1u << position)) {
            continue;
        }
        modify(port + 0x08, 3u << position * 2u, init->speed << position * 2u);
        modify(port + 0x04, 1u << position, 0);
        modify(port + 0x0C, 3u << position * 2u, init->pull << position * 2u);
        modify(port + 0x20 + position / 8u * 4u, 0xFu << position % 8u * 4u, init->alternate << position % 8u * 4u);
        modify(port + 0x00, 3u << position * 2u, init->mode << position * 2u);
    }
}
