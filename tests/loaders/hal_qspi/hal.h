/*
 * A small hardware abstraction layer that touches registers in the order in which ST's does.
 *
 * Loaders in the field are built on ST's HAL; what they ask of a board is not what a loader at register level asks.
 * Nothing here is ST's code: the order of accesses, the polling and the time-outs are, as facts.
 *
 * Choices, by define:
 *   TICK_INTERRUPT   HAL_GetTick counts SysTick interrupts, which needs PRIMASK = 0; else it is constant, as in most
 *                    loaders, so that no wait ever times out
 *   CLOCK_HSE        the PLL runs from the 25 MHz crystal; else from HSI
 *   CLOCK_RESET      no PLL at all
 *   CACHES           the MPU, the I-cache and the D-cache are switched on
 *   ERASE_4K         sectors of 4 KiB (20h); else blocks of 64 KiB (D8h)
 *   PROGRAM_SINGLE   page program on one line (02h); else on four (32h)
 *   QE_BY_01         QE is set by 01h with two bytes; else by 31h
 *   READ_0B          Read uses one line (0Bh); else four (EBh)
 *   QPI              the chip is switched to QPI (38h), every instruction is on four lines
 *   ERRATA           after reset the sequence of errata sheet ES0392, "QUADSPI internal timing criticality", runs
 *   MAPPED           no Read: Init leaves the chip mapped, Write and erases abort that
 */
#ifndef HAL_H
#define HAL_H

#include <stdbool.h>
#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

typedef enum { HAL_OK, HAL_ERROR, HAL_BUSY, HAL_TIMEOUT } hal_status;

#define HAL_TIMEOUT_DEFAULT 5000u

/* system.c */
extern volatile uint32_t uwTick;
void SystemInit(void);
void HAL_Init(void);
uint32_t HAL_GetTick(void);
void HAL_Delay(uint32_t ms);
hal_status SystemClock_Config(void);

struct gpio_init {
    uint32_t pins; /* one bit each */
    uint32_t mode, pull, speed, alternate;
};
void HAL_GPIO_Init(uint32_t port, const struct gpio_init *init);

/* qspi.c */
enum { LINES_NONE, LINES_1, LINES_2, LINES_4 };
enum { SIZE_8, SIZE_16, SIZE_24, SIZE_32 };

struct qspi_handle {
    uint32_t prescaler, fifo_threshold, sample_shift, flash_size, cs_high_time, clock_mode;
    uint8_t *buffer;
    uint32_t count;
    uint32_t state;
};

struct qspi_command {
    uint32_t instruction, address, alternate;
    uint32_t address_size, alternate_size, dummy_cycles;
    uint32_t instruction_mode, address_mode, alternate_mode, data_mode;
    uint32_t count;
};

struct qspi_polling {
    uint32_t match, mask, interval, status_size;
};

hal_status HAL_QSPI_Init(struct qspi_handle *handle);
hal_status HAL_QSPI_DeInit(struct qspi_handle *handle);
hal_status HAL_QSPI_Command(struct qspi_handle *handle, const struct qspi_command *command, uint32_t timeout);
hal_status HAL_QSPI_Transmit(struct qspi_handle *handle, const uint8_t *data, uint32_t timeout);
hal_status HAL_QSPI_Receive(struct qspi_handle *handle, uint8_t *data, uint32_t timeout);
hal_status HAL_QSPI_AutoPolling(struct qspi_handle *handle, const struct qspi_command *command,
                                const struct qspi_polling *polling, uint32_t timeout);
hal_status HAL_QSPI_MemoryMapped(struct qspi_handle *handle, const struct qspi_command *command);
hal_status HAL_QSPI_Abort(struct qspi_handle *handle);

/* w25q.c */
#define FLASH_PAGE 256u
#define FLASH_SIZE 0x1000000u
#ifdef ERASE_4K
#define FLASH_SECTOR 0x1000u
#else
#define FLASH_SECTOR 0x10000u
#endif

hal_status flash_init(void);
hal_status flash_map(void);
hal_status flash_unmap(void);
hal_status flash_erase(uint32_t start, uint32_t end);
hal_status flash_erase_chip(void);
hal_status flash_write(const uint8_t *data, uint32_t address, uint32_t size);
hal_status flash_read(uint8_t *data, uint32_t address, uint32_t size);

#endif
