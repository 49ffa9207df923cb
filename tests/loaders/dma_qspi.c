/*
 * A loader that leaves the bytes to MDMA, the time to TIM6, and tells what it does on USART3 and the ITM.
 *
 *   INTERRUPTS   ends of transfers, of status polling and of milliseconds arrive by interrupt, as a HAL does it
 *
 * Sources: ST RM0433 rev 8, chapters 10 (HSEM), 14 (MDMA), 23 (QUADSPI), 41 (TIM6), 48 (USART).
 */
#include <stdbool.h>

#include "external_loader.h"
#include "stm32h750.h"

#define BASE 0x90000000u
#define SIZE (16u << 20)
#define SECTOR 4096u

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "DMA_QSPI",
    .type = SPI_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = 256,
    .erased_value = 0xFF,
    .sectors = {{SIZE / SECTOR, SECTOR}},
};

#define RCC_AHB3_MDMA 1u
#define RCC_AHB4_HSEM (1u << 25)
#define RCC_APB1LENR REGISTER(0x580244E8u)
#define RCC_APB1L_TIM6 (1u << 4)
#define RCC_APB1L_USART3 (1u << 18)

#define DEMCR REGISTER(0xE000EDFCu)
#define ITM_PORT REGISTER(0xE0000000u)
#define ITM_TER REGISTER(0xE0000E00u)
#define ITM_TCR REGISTER(0xE0000E80u)
#define VTOR REGISTER(0xE000ED08u)
#define NVIC_ISER(number) REGISTER(0xE000E100u + 4u * ((number) / 32u))

#define USART3_CR1 REGISTER(0x40004800u)
#define USART3_BRR REGISTER(0x4000480Cu)
#define USART3_ISR REGISTER(0x4000481Cu)
#define USART3_TDR REGISTER(0x40004828u)

#define TIM6_CR1 REGISTER(0x40001000u)
#define TIM6_DIER REGISTER(0x4000100Cu)
#define TIM6_SR REGISTER(0x40001010u)
#define TIM6_EGR REGISTER(0x40001014u)
#define TIM6_CNT REGISTER(0x40001024u)
#define TIM6_PSC REGISTER(0x40001028u)
#define TIM6_ARR REGISTER(0x4000102Cu)

#define HSEM_RLR0 REGISTER(0x58026480u)
#define HSEM_R0 REGISTER(0x58026400u)
#define HSEM_MINE 0x80000300u

struct mdma_channel {
    volatile uint32_t ISR, IFCR, ESR, CR, TCR, BNDTR, SAR, DAR, BRUR, LAR, TBR, reserved, MAR, MDR;
};
#define MDMA ((struct mdma_channel *)(0x52000040u + 3u * 0x40u))
#define MDMA_CTCIF 2u
#define MDMA_BY_SOURCE (2u | 0u << 2)      /* source up by bytes, target fixed */
#define MDMA_BY_TARGET (0u | 2u << 2)
#define MDMA_BUFFER(bytes) (((bytes) - 1u) << 18)
#define MDMA_QUADSPI_FIFO 22u

#define TIM6_IRQ 54u
#define QUADSPI_IRQ 92u
#define MDMA_IRQ 122u

enum { INDIRECT_WRITE, INDIRECT_READ, POLL, MAPPED };
#define CR_DMAEN (1u << 2)
#define CR_TCIE (1u << 17)
#define CR_SMIE (1u << 19)
#define CR_APMS (1u << 22)
#define SR_SMF (1u << 3)

#ifdef INTERRUPTS
static volatile uint32_t milliseconds;
static volatile bool moved, sent, matched;

static void on_tick(void)
{
    TIM6_SR = ~1u;
    milliseconds++;
}

static void on_mdma(void)
{
    MDMA->IFCR = 0x1F;
    moved = true;
    QUADSPI->CR |= CR_TCIE; /* the last byte is in the FIFO, not yet on the wire */
}

static void on_quadspi(void)
{
    uint32_t flags = QUADSPI->SR;

    QUADSPI->FCR = flags & 0x1Bu;
    QUADSPI->CR &= ~(CR_TCIE | CR_SMIE);
    sent = sent || (flags & QUADSPI_SR_TCF);
    matched = matched || (flags & SR_SMF);
}

static void on_other(void)
{
    for (;;) {
    }
}

static void (*const vectors[16 + 150])(void) __attribute__((aligned(1024))) = {
    [1 ... 15 + TIM6_IRQ] = on_other,
    [16 + TIM6_IRQ] = on_tick,
    [17 + TIM6_IRQ ... 15 + QUADSPI_IRQ] = on_other,
    [16 + QUADSPI_IRQ] = on_quadspi,
    [17 + QUADSPI_IRQ ... 15 + MDMA_IRQ] = on_other,
    [16 + MDMA_IRQ] = on_mdma,
    [17 + MDMA_IRQ ... 165] = on_other,
};

static void enable(uint32_t number)
{
    NVIC_ISER(number) = 1u << number % 32u;
}
#endif

static void say(const char *text)
{
    for (; *text; text++) {
        while (!(USART3_ISR & 1u << 7)) {
        }
        USART3_TDR = (uint8_t)*text;
        while (ITM_PORT == 0) {
        }
        *(volatile uint8_t *)&ITM_PORT = (uint8_t)*text;
    }
    while (!(USART3_ISR & 1u << 6)) {
    }
}

static void wait_ms(uint32_t count)
{
#ifdef INTERRUPTS
    uint32_t start = milliseconds;

    while (milliseconds - start < count) {
    }
#else
    TIM6_CNT = 0;
    while (TIM6_CNT < count * 10u) { /* 100 us a tick */
    }
#endif
}

static void start_time(void)
{
    RCC_APB1LENR |= RCC_APB1L_TIM6;
    (void)RCC_APB1LENR;
    TIM6_CR1 = 0;
    TIM6_PSC = 6400u - 1u;
#ifdef INTERRUPTS
    TIM6_ARR = 10u - 1u;
    TIM6_DIER = 1;
#else
    TIM6_ARR = 0xFFFFu;
#endif
    TIM6_EGR = 1; /* takes the prescaler over */
    TIM6_SR = 0;
    TIM6_CR1 = 1;
}

static void command(uint32_t opcode, uint32_t more, uint32_t mode)
{
    while (QUADSPI->SR & QUADSPI_SR_BUSY) {
    }
    QUADSPI->CCR = QUADSPI_CCR_INSTRUCTION(1u, opcode) | more | mode << 26;
}

static void end(void)
{
    while (!(QUADSPI->SR & QUADSPI_SR_TCF)) {
    }
    QUADSPI->FCR = QUADSPI_SR_TCF;
}

static void poll(uint32_t mask, uint32_t match)
{
    QUADSPI->PSMKR = mask;
    QUADSPI->PSMAR = match;
    QUADSPI->PIR = 16;
    QUADSPI->DLR = 0;
    QUADSPI->CR |= CR_APMS;
#ifdef INTERRUPTS
    matched = false;
    command(0x05, QUADSPI_CCR_DATA(1u), POLL);
    QUADSPI->CR |= CR_SMIE;
    while (!matched) {
    }
#else
    command(0x05, QUADSPI_CCR_DATA(1u), POLL);
    while (!(QUADSPI->SR & SR_SMF)) {
    }
    QUADSPI->FCR = SR_SMF;
#endif
}

static void enable_write(void)
{
    command(0x06, 0, INDIRECT_WRITE);
    end();
    poll(2, 2);
}

static void start_dma(uint32_t from, uint32_t to, uint32_t size, uint32_t how)
{
    MDMA->CR = 0;
    while (MDMA->CR & 1u) {
    }
    MDMA->IFCR = 0x1F;
    MDMA->TCR = how | MDMA_BUFFER(4u);
    MDMA->BNDTR = size;
    MDMA->SAR = from;
    MDMA->DAR = to;
    MDMA->BRUR = MDMA->LAR = MDMA->MAR = 0;
    MDMA->TBR = MDMA_QUADSPI_FIFO;
#ifdef INTERRUPTS
    moved = sent = false;
    MDMA->CR = 1u | 4u; /* CTCIE */
#else
    MDMA->CR = 1u;
#endif
}

static void end_dma(void)
{
#ifdef INTERRUPTS
    while (!moved || !sent) {
    }
#else
    while (!(MDMA->ISR & MDMA_CTCIF)) {
    }
    end();
#endif
    QUADSPI->CR &= ~CR_DMAEN;
}

int Init(void)
{
    uint32_t semaphore;

    RCC_AHB3ENR |= RCC_AHB3_QSPI | RCC_AHB3_MDMA;
    RCC_AHB4ENR |= RCC_AHB4_GPIOB | RCC_AHB4_GPIOF | RCC_AHB4_HSEM;
    RCC_APB1LENR |= RCC_APB1L_USART3;
    RCC_AHB3RSTR |= RCC_AHB3_QSPI;
    RCC_AHB3RSTR &= ~RCC_AHB3_QSPI;
    DEMCR |= 1u << 24;
    ITM_TCR = 1;
    ITM_TER = 1;
    USART3_BRR = 556;
    USART3_CR1 = 1u | 1u << 2 | 1u << 3;
    while ((USART3_ISR & 3u << 21) != 3u << 21) {
    }
#ifdef INTERRUPTS
    VTOR = (uint32_t)vectors;
    enable(TIM6_IRQ);
    enable(QUADSPI_IRQ);
    enable(MDMA_IRQ);
    __asm volatile("cpsie i" : : : "memory");
#endif
    start_time();
    semaphore = HSEM_RLR0;
    if (semaphore != HSEM_MINE) {
        return 0;
    }
    say("init\n");
    QUADSPI->DCR = QUADSPI_DCR_FSIZE(24u) | QUADSPI_DCR_CSHT(2u);
    QUADSPI->CR = QUADSPI_CR_PRESCALER(2u) | QUADSPI_CR_FTHRES(4u) | QUADSPI_CR_EN;
    command(0x66, 0, INDIRECT_WRITE);
    end();
    command(0x99, 0, INDIRECT_WRITE);
    end();
    wait_ms(2);
    HSEM_R0 = 0x300u;
    say("ready\n");
    return 1;
}

int SectorErase(uint32_t start, uint32_t stop)
{
    for (uint32_t address = start - start % SECTOR; address <= stop; address += SECTOR) {
        enable_write();
        command(0x20, QUADSPI_CCR_ADDRESS_24(1u), INDIRECT_WRITE);
        QUADSPI->AR = address - BASE;
        end();
        poll(1, 0);
    }
    return 1;
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    while (size != 0) {
        uint32_t count = 256u - address % 256u;

        count = count < size ? count : size;
        enable_write();
        QUADSPI->DLR = count - 1u;
        command(0x02, QUADSPI_CCR_ADDRESS_24(1u) | QUADSPI_CCR_DATA(1u), INDIRECT_WRITE);
        QUADSPI->AR = address - BASE;
        start_dma((uint32_t)buffer, (uint32_t)&QUADSPI->DR, count, MDMA_BY_SOURCE);
        QUADSPI->CR |= CR_DMAEN;
        end_dma();
        poll(1, 0);
        address += count;
        buffer += count;
        size -= count;
    }
    say("written\n");
    return 1;
}

int Read(uint32_t address, uint32_t size, uint8_t *buffer)
{
    while (size != 0) {
        uint32_t count = size < 0x10000u ? size : 0x10000u;

        QUADSPI->DLR = count - 1u;
        command(0x0B, QUADSPI_CCR_ADDRESS_24(1u) | QUADSPI_CCR_DUMMY(8u) | QUADSPI_CCR_DATA(1u), INDIRECT_READ);
        start_dma((uint32_t)&QUADSPI->DR, (uint32_t)buffer, count, MDMA_BY_TARGET);
        QUADSPI->CR |= CR_DMAEN;
        QUADSPI->AR = address - BASE;
        end_dma();
        address += count;
        buffer += count;
        size -= count;
    }
    return 1;
}
