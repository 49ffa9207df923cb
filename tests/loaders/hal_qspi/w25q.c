/*
 * The W25Q128JV over the HAL, as board support packages treat it: every step a command structure, every wait by
 * automatic polling. Source of the instructions: W25Q128JV data sheet rev F, chapter 8.
 */
#include "hal.h"

static struct qspi_handle handle;

#ifdef QPI
#define LINES LINES_4
#else
#define LINES LINES_1
#endif

static struct qspi_command instruction(uint32_t opcode)
{
    struct qspi_command command = {.instruction = opcode, .instruction_mode = LINES, .address_size = SIZE_24};

    return command;
}

static hal_status send(uint32_t opcode)
{
    struct qspi_command command = instruction(opcode);

    return HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT);
}

static hal_status poll_status(uint32_t match, uint32_t mask, uint32_t timeout)
{
    struct qspi_command command = instruction(0x05);
    struct qspi_polling polling = {.match = match, .mask = mask, .interval = 0x10, .status_size = 1};

    command.data_mode = LINES;
    return HAL_QSPI_AutoPolling(&handle, &command, &polling, timeout);
}

static hal_status wait_ready(uint32_t timeout)
{
    return poll_status(0x00, 0x01, timeout);
}

static hal_status write_enable(void)
{
    if (send(0x06) != HAL_OK) {
        return HAL_ERROR;
    }
    return poll_status(0x02, 0x02, HAL_TIMEOUT_DEFAULT);
}

static hal_status read_register(uint32_t opcode, uint8_t *value, uint32_t count)
{
    struct qspi_command command = instruction(opcode);

    command.data_mode = LINES;
    command.count = count;
    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    return HAL_QSPI_Receive(&handle, value, HAL_TIMEOUT_DEFAULT);
}

static hal_status reset_chip(void)
{
    static const uint32_t lines[] = {LINES_4, LINES_1};

    for (uint32_t n = 0; n < 2; n++) { /* in whatever mode the chip was left */
        struct qspi_command command = instruction(0x66);

        command.instruction_mode = lines[n];
        if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
            return HAL_ERROR;
        }
        command.instruction = 0x99;
        if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
            return HAL_ERROR;
        }
    }
    HAL_Delay(1);
    return HAL_OK;
}

/* Set QE; in SPI mode, whatever mode is used afterwards. */
static hal_status enable_quad(void)
{
    uint8_t status[2];
    struct qspi_command command = {.instruction = 0x35, .instruction_mode = LINES_1, .data_mode = LINES_1, .count = 1};
    struct qspi_polling ready = {.match = 0, .mask = 1, .interval = 0x10, .status_size = 1};
    struct qspi_polling enabled = {.match = 2, .mask = 2, .interval = 0x10, .status_size = 1};

    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK ||
        HAL_QSPI_Receive(&handle, &status[1], HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    if (status[1] & 0x02) {
        return HAL_OK;
    }
    command.instruction = 0x05;
    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK ||
        HAL_QSPI_Receive(&handle, &status[0], HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    status[1] |= 0x02;
    command.instruction = 0x06;
    command.data_mode = LINES_NONE;
    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    command.instruction = 0x05;
    command.data_mode = LINES_1;
    if (HAL_QSPI_AutoPolling(&handle, &command, &enabled, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
#ifdef QE_BY_01
    command.instruction = 0x01;
    command.count = 2;
    const uint8_t *value = &status[0];
#else
    command.instruction = 0x31;
    command.count = 1;
    const uint8_t *value = &status[1];
#endif
    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK ||
        HAL_QSPI_Transmit(&handle, value, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    command.instruction = 0x05;
    return HAL_QSPI_AutoPolling(&handle, &command, &ready, HAL_TIMEOUT_DEFAULT);
}

#ifdef QPI
static hal_status enter_qpi(void)
{
    struct qspi_command command = {.instruction = 0x38, .instruction_mode = LINES_1};
    const uint8_t parameters = 0x20; /* six dummy clocks, wrap length 8 */

    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    command = instruction(0xC0);
    command.data_mode = LINES_4;
    command.count = 1;
    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    return HAL_QSPI_Transmit(&handle, &parameters, HAL_TIMEOUT_DEFAULT);
}
#endif

hal_status flash_init(void)
{
    uint8_t id[3];

    HAL_QSPI_DeInit(&handle);
    handle.prescaler = 3;
    handle.fifo_threshold = 4;
    handle.sample_shift = 1;
    handle.flash_size = 23;
    handle.cs_high_time = 5;
    handle.clock_mode = 0;
    if (HAL_QSPI_Init(&handle) != HAL_OK || reset_chip() != HAL_OK) {
        return HAL_ERROR;
    }
    HAL_Delay(1);
    if (enable_quad() != HAL_OK) {
        return HAL_ERROR;
    }
#ifdef QPI
    if (enter_qpi() != HAL_OK) {
        return HAL_ERROR;
    }
#endif
    if (wait_ready(HAL_TIMEOUT_DEFAULT) != HAL_OK || read_register(0x9F, id, sizeof id) != HAL_OK) {
        return HAL_ERROR;
    }
    return id[0] == 0xEF && id[2] == 0x18 ? HAL_OK : HAL_ERROR;
}

/* What both the window and Read use: EBh, its mode byte kept from starting continuous read by its dummy clocks. */
__attribute__((unused)) static struct qspi_command quad_read(void)
{
    struct qspi_command command = instruction(0xEB);

    command.address_mode = LINES_4;
    command.data_mode = LINES_4;
#ifdef QPI
    command.dummy_cycles = 6;
#else
    command.alternate_mode = LINES_4;
    command.alternate = 0xF0;
    command.alternate_size = SIZE_8;
    command.dummy_cycles = 4;
#endif
    return command;
}

hal_status flash_map(void)
{
    struct qspi_command command = quad_read();

    return HAL_QSPI_MemoryMapped(&handle, &command);
}

hal_status flash_unmap(void)
{
    return HAL_QSPI_Abort(&handle);
}

hal_status flash_erase(uint32_t start, uint32_t end)
{
    struct qspi_command command = instruction(FLASH_SECTOR == 0x1000u ? 0x20 : 0xD8);

    start -= start % FLASH_SECTOR;
    command.address_mode = LINES;
    while (end >= start) {
        command.address = start & 0x0FFFFFFFu;
        if (write_enable() != HAL_OK || HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
            return HAL_ERROR;
        }
        start += FLASH_SECTOR;
        if (wait_ready(HAL_TIMEOUT_DEFAULT) != HAL_OK) {
            return HAL_ERROR;
        }
    }
    return HAL_OK;
}

hal_status flash_erase_chip(void)
{
    if (write_enable() != HAL_OK || send(0xC7) != HAL_OK) {
        return HAL_ERROR;
    }
    return wait_ready(400000u);
}

hal_status flash_write(const uint8_t *data, uint32_t address, uint32_t size)
{
#if defined PROGRAM_SINGLE || defined QPI
    struct qspi_command command = instruction(0x02);

    command.data_mode = LINES;
#else
    struct qspi_command command = instruction(0x32);

    command.data_mode = LINES_4;
#endif
    uint32_t current = address;
    uint32_t end = address + size;
    uint32_t chunk = FLASH_PAGE - address % FLASH_PAGE;

    if (chunk > size) {
        chunk = size;
    }
    command.address_mode = LINES;
    while (current < end) {
        command.address = current;
        command.count = chunk;
        if (write_enable() != HAL_OK || HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK ||
            HAL_QSPI_Transmit(&handle, data, HAL_TIMEOUT_DEFAULT) != HAL_OK ||
            wait_ready(HAL_TIMEOUT_DEFAULT) != HAL_OK) {
            return HAL_ERROR;
        }
        current += chunk;
        data += chunk;
        chunk = current + FLASH_PAGE > end ? end - current : FLASH_PAGE;
    }
    return HAL_OK;
}

hal_status flash_read(uint8_t *data, uint32_t address, uint32_t size)
{
#if defined READ_0B && !defined QPI
    struct qspi_command command = instruction(0x0B);

    command.address_mode = LINES_1;
    command.data_mode = LINES_1;
    command.dummy_cycles = 8;
#else
    struct qspi_command command = quad_read();
#endif
    if (size == 0) {
        return HAL_OK;
    }
    command.address = address;
    command.count = size;
    if (HAL_QSPI_Command(&handle, &command, HAL_TIMEOUT_DEFAULT) != HAL_OK) {
        return HAL_ERROR;
    }
    return HAL_QSPI_Receive(&handle, data, HAL_TIMEOUT_DEFAULT);
}
