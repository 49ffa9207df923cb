/*
 * QUADSPI, driven in the order in which ST's HAL drives it: wait for BUSY before every command, CCR before AR, data
 * a byte at a time behind a FIFO flag, reads started by writing AR once more, TCF polled and cleared, abort by
 * ABORT and TCF.
 */
#include "hal.h"

#define QSPI 0x52005000u
#define QSPI_CR REG(QSPI + 0x00)
#define QSPI_DCR REG(QSPI + 0x04)
#define QSPI_SR REG(QSPI + 0x08)
#define QSPI_FCR REG(QSPI + 0x0C)
#define QSPI_DLR REG(QSPI + 0x10)
#define QSPI_CCR REG(QSPI + 0x14)
#define QSPI_AR REG(QSPI + 0x18)
#define QSPI_ABR REG(QSPI + 0x1C)
#define QSPI_DR_BYTE (*(volatile uint8_t *)(QSPI + 0x20))
#define QSPI_PSMKR REG(QSPI + 0x24)
#define QSPI_PSMAR REG(QSPI + 0x28)
#define QSPI_PIR REG(QSPI + 0x2C)

#define RCC_AHB3RSTR REG(0x5802447Cu)
#define RCC_AHB3ENR REG(0x580244D4u)
#define RCC_AHB4ENR REG(0x580244E0u)

enum { CR_EN = 1, CR_ABORT = 2, CR_TCEN = 8 };
enum { SR_TE = 1, SR_TC = 2, SR_FT = 4, SR_SM = 8, SR_TO = 16, SR_BUSY = 32 };
enum { FMODE_WRITE, FMODE_READ, FMODE_POLL, FMODE_MAPPED };
enum { STATE_RESET, STATE_READY, STATE_TRANSMIT, STATE_RECEIVE, STATE_POLLING, STATE_MAPPED };

static hal_status wait_flag(struct qspi_handle *handle, uint32_t flag, bool state, uint32_t start, uint32_t timeout)
{
    while (((QSPI_SR & flag) != 0) != state) {
        if (HAL_GetTick() - start > timeout || timeout == 0) {
            handle->state = STATE_READY;
            return HAL_ERROR;
        }
    }
    return HAL_OK;
}

static void give_pins(void)
{
    static const struct gpio_init clock = {.pins = 1u << 2, .mode = 2, .speed = 3, .alternate = 9};
    static const struct gpio_init select = {.pins = 1u << 6, .mode = 2, .speed = 3, .pull = 1, .alternate = 10};
    static const struct gpio_init low = {.pins = 1u << 8 | 1u << 9, .mode = 2, .speed = 3, .alternate = 10};
    static const struct gpio_init high = {.pins = 1u << 6 | 1u << 7, .mode = 2, .speed = 3, .alternate = 9};

    RCC_AHB3ENR |= 1u << 14;
    (void)RCC_AHB3ENR;
    RCC_AHB3RSTR |= 1u << 14;
    RCC_AHB3RSTR &= ~(1u << 14);
    RCC_AHB4ENR |= 1u << 1;
    (void)RCC_AHB4ENR;
    RCC_AHB4ENR |= 1u << 5;
    (void)RCC_AHB4ENR;
    HAL_GPIO_Init(0x58020400u, &clock);
    HAL_GPIO_Init(0x58020400u, &select);
    HAL_GPIO_Init(0x58021400u, &low);
    HAL_GPIO_Init(0x58021400u, &high);
}

#ifdef ERRATA
/* As loaders in the field do it: CR and CCR are kept, and the clock runs freely for two writes. */
static void run_clock(void)
{
    uint32_t cr = QSPI_CR;
    uint32_t ccr = QSPI_CCR;

    QSPI_CR = 0;
    while (QSPI_SR & SR_BUSY) {
    }
    QSPI_CR = 0xFF000001u;
    QSPI_CCR = 0x20000000u;
    QSPI_CCR = 0x20000000u;
    QSPI_CR = 0;
    while (QSPI_SR & SR_BUSY) {
    }
    QSPI_CR = cr;
    QSPI_CCR = ccr;
}
#endif

hal_status HAL_QSPI_Init(struct qspi_handle *handle)
{
    uint32_t start = HAL_GetTick();

    if (handle->state == STATE_RESET) {
        give_pins();
#ifdef ERRATA
        run_clock();
#endif
    }
    QSPI_CR = (QSPI_CR & ~(0x1Fu << 8)) | (handle->fifo_threshold - 1u) << 8;
    if (wait_flag(handle, SR_BUSY, false, start, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    QSPI_CR = (QSPI_CR & ~(0xFFu << 24 | 1u << 4 | 1u << 7 | 1u << 6)) | handle->prescaler << 24 |
              handle->sample_shift << 4;
    QSPI_DCR = (QSPI_DCR & ~(0x1Fu << 16 | 7u << 8 | 1u)) | handle->flash_size << 16 | handle->cs_high_time << 8 |
               handle->clock_mode;
    QSPI_CR |= CR_EN;
    handle->state = STATE_READY;
    return HAL_OK;
}

hal_status HAL_QSPI_DeInit(struct qspi_handle *handle)
{
    QSPI_CR &= ~(uint32_t)CR_EN;
    RCC_AHB3ENR &= ~(1u << 14);
    handle->state = STATE_RESET;
    return HAL_OK;
}

static void configure(const struct qspi_command *command, uint32_t mode)
{
    uint32_t ccr = mode << 26 | command->data_mode << 24 | command->dummy_cycles << 18;

    if (command->data_mode != LINES_NONE && mode != FMODE_MAPPED) {
        QSPI_DLR = command->count - 1u;
    }
    if (command->alternate_mode != LINES_NONE) {
        QSPI_ABR = command->alternate;
        ccr |= command->alternate_size << 16 | command->alternate_mode << 14;
    }
    if (command->address_mode != LINES_NONE) {
        ccr |= command->address_size << 12 | command->address_mode << 10;
    }
    ccr |= command->instruction_mode << 8 | command->instruction;
    QSPI_CCR = ccr;
    if (command->address_mode != LINES_NONE && mode != FMODE_MAPPED) {
        QSPI_AR = command->address;
    }
}

hal_status HAL_QSPI_Command(struct qspi_handle *handle, const struct qspi_command *command, uint32_t timeout)
{
    uint32_t start = HAL_GetTick();

    if (handle->state != STATE_READY) {
        return HAL_BUSY;
    }
    if (wait_flag(handle, SR_BUSY, false, start, timeout) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    configure(command, FMODE_WRITE);
    if (command->data_mode == LINES_NONE) {
        if (wait_flag(handle, SR_TC, true, start, timeout) != HAL_OK) {
            return HAL_TIMEOUT;
        }
        QSPI_FCR = SR_TC;
    }
    return HAL_OK;
}

hal_status HAL_QSPI_Transmit(struct qspi_handle *handle, const uint8_t *data, uint32_t timeout)
{
    uint32_t start = HAL_GetTick();
    hal_status status = HAL_OK;

    if (handle->state != STATE_READY || data == 0) {
        return HAL_BUSY;
    }
    handle->state = STATE_TRANSMIT;
    handle->count = QSPI_DLR + 1u;
    QSPI_CCR = QSPI_CCR & ~(3u << 26);
    while (handle->count > 0) {
        status = wait_flag(handle, SR_FT, true, start, timeout);
        if (status != HAL_OK) {
            break;
        }
        QSPI_DR_BYTE = *data++;
        handle->count--;
    }
    if (status == HAL_OK) {
        status = wait_flag(handle, SR_TC, true, start, timeout);
        if (status == HAL_OK) {
            QSPI_FCR = SR_TC;
        }
    }
    handle->state = STATE_READY;
    return status;
}

hal_status HAL_QSPI_Receive(struct qspi_handle *handle, uint8_t *data, uint32_t timeout)
{
    uint32_t start = HAL_GetTick();
    uint32_t address = QSPI_AR;
    hal_status status = HAL_OK;

    if (handle->state != STATE_READY || data == 0) {
        return HAL_BUSY;
    }
    handle->state = STATE_RECEIVE;
    handle->count = QSPI_DLR + 1u;
    QSPI_CCR = (QSPI_CCR & ~(3u << 26)) | FMODE_READ << 26;
    QSPI_AR = address;
    while (handle->count > 0) {
        status = wait_flag(handle, SR_FT | SR_TC, true, start, timeout);
        if (status != HAL_OK) {
            break;
        }
        *data++ = QSPI_DR_BYTE;
        handle->count--;
    }
    if (status == HAL_OK) {
        status = wait_flag(handle, SR_TC, true, start, timeout);
        if (status == HAL_OK) {
            QSPI_FCR = SR_TC;
        }
    }
    handle->state = STATE_READY;
    return status;
}

hal_status HAL_QSPI_AutoPolling(struct qspi_handle *handle, const struct qspi_command *command,
                                const struct qspi_polling *polling, uint32_t timeout)
{
    uint32_t start = HAL_GetTick();
    struct qspi_command status_read = *command;

    if (handle->state != STATE_READY) {
        return HAL_BUSY;
    }
    handle->state = STATE_POLLING;
    if (wait_flag(handle, SR_BUSY, false, start, timeout) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    QSPI_PSMAR = polling->match;
    QSPI_PSMKR = polling->mask;
    QSPI_PIR = polling->interval;
    QSPI_CR = (QSPI_CR & ~(1u << 23 | 1u << 22)) | 0u << 23 | 1u << 22; /* AND mode, stop on match */
    status_read.count = polling->status_size;
    configure(&status_read, FMODE_POLL);
    if (wait_flag(handle, SR_SM, true, start, timeout) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    QSPI_FCR = SR_SM;
    handle->state = STATE_READY;
    return HAL_OK;
}

hal_status HAL_QSPI_MemoryMapped(struct qspi_handle *handle, const struct qspi_command *command)
{
    if (handle->state != STATE_READY) {
        return HAL_BUSY;
    }
    handle->state = STATE_MAPPED;
    if (wait_flag(handle, SR_BUSY, false, HAL_GetTick(), HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    QSPI_CR &= ~(uint32_t)CR_TCEN;
    configure(command, FMODE_MAPPED);
    return HAL_OK;
}

hal_status HAL_QSPI_Abort(struct qspi_handle *handle)
{
    uint32_t start = HAL_GetTick();

    if (handle->state == STATE_READY || handle->state == STATE_RESET) {
        return HAL_OK;
    }
    QSPI_CR |= CR_ABORT;
    if (wait_flag(handle, SR_TC, true, start, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    QSPI_FCR = SR_TC;
    if (wait_flag(handle, SR_BUSY, false, start, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_TIMEOUT;
    }
    QSPI_CCR &= ~(3u << 26);
    handle->state = STATE_READY;
    return HAL_OK;
}
