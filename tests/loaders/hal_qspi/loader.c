/*
 * The functions that a host calls, over the BSP of w25q.c: the shape of loaders made from the vendor's template.
 * DeInit and Read are there unless MAPPED, where Verify and CheckSum read the window.
 */
#include "external_loader.h"
#include "hal.h"

#define BASE 0x90000000u

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "HAL_W25Q128_STM32H750-PB2-PB6-PF8-PF9-PF7-PF6",
    .type = NOR_FLASH,
    .start = BASE,
    .size = FLASH_SIZE,
    .page_size = FLASH_PAGE,
    .erased_value = 0xFF,
    .sectors = {{FLASH_SIZE / FLASH_SECTOR, FLASH_SECTOR}},
};

static void set_primask(uint32_t value)
{
    __asm volatile("msr primask, %0" : : "r"(value) : "memory");
}

/* Where ticks come from interrupts, they are let in for the time of a call. */
static void enter(void)
{
#ifdef TICK_INTERRUPT
    set_primask(0);
#endif
}

static int leave(hal_status status)
{
    set_primask(1);
    return status == HAL_OK ? 1 : 0;
}

int Init(void)
{
    hal_status status;

    REG(0xE000EDF0u) = 0xA05F0000u; /* DHCSR, as the template writes it; the core's own writes to it do nothing */
    SystemInit();
    enter();
    HAL_Init();
    status = SystemClock_Config();
    if (status == HAL_OK) {
        status = flash_init();
    }
#ifdef MAPPED
    if (status == HAL_OK) {
        status = flash_map();
    }
#endif
    return leave(status);
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    enter();
    if (flash_unmap() != HAL_OK) {
        return leave(HAL_ERROR);
    }
    return leave(flash_write(buffer, address & 0x0FFFFFFFu, size));
}

int SectorErase(uint32_t start, uint32_t end)
{
    enter();
    if (flash_unmap() != HAL_OK) {
        return leave(HAL_ERROR);
    }
    return leave(flash_erase(start, end));
}

int MassErase(uint32_t parallelism)
{
    (void)parallelism;
    enter();
    if (flash_unmap() != HAL_OK) {
        return leave(HAL_ERROR);
    }
    return leave(flash_erase_chip());
}

#ifdef MAPPED
uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial)
{
    while (size-- != 0) {
        initial += *(const volatile uint8_t *)address++;
    }
    return initial;
}

/* As the template's: compares the padding, too, and reports an address that is not the one of the difference. */
uint64_t Verify(uint32_t address, uint32_t buffer, uint32_t words, uint32_t misalignment)
{
    uint32_t size = words * 4u;
    uint32_t done = 0;
    uint64_t sum;

    enter();
    if (flash_unmap() != HAL_OK || flash_map() != HAL_OK) {
        return (uint64_t)leave(HAL_ERROR);
    }
    sum = CheckSum(address + (misalignment & 0xFu), size - (misalignment >> 16 & 0xFu), 0);
    leave(HAL_OK);
    while (done < size) {
        if (*(const volatile uint8_t *)address++ != *(const uint8_t *)(buffer + done)) {
            return (sum << 32) + address + done;
        }
        done++;
    }
    return sum << 32;
}
#else
int DeInit(void)
{
    enter();
    return leave(flash_unmap());
}

int Read(uint32_t address, uint32_t size, uint8_t *buffer)
{
    enter();
    return leave(flash_read(buffer, address & 0x0FFFFFFFu, size));
}
#endif
