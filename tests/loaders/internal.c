/*
 * A loader of the STM32H750's own flash: one sector of 128 KiB, programmed by words of 256 bits (ST RM0433 rev 8, 4.3).
 */
#include "external_loader.h"
#include "stm32h750.h"

#define BASE 0x08000000u
#define SIZE 0x20000u
#define FLASH_WORD 32u

/* ST RM0433 rev 8, 4.9: FLASH_KEYR1, CR1, SR1, CCR1 */
#define KEYR1 REGISTER(0x52002004u)
#define CR1 REGISTER(0x5200200Cu)
#define SR1 REGISTER(0x52002010u)
#define CCR1 REGISTER(0x52002014u)
#define CR_LOCK (1u << 0)
#define CR_PG (1u << 1)
#define CR_SER (1u << 2)
#define CR_START (1u << 7)
#define SR_BUSY 0x7u /* BSY1, WBNE1, QW1 */
#define SR_ERRORS 0x02EE0000u

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "H750_INTERNAL",
    .type = MCU_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = FLASH_WORD,
    .erased_value = 0xFF,
    .sectors = {{1, SIZE}},
};

static int done(void)
{
    while ((SR1 & SR_BUSY) != 0) {
    }
    return (SR1 & SR_ERRORS) == 0;
}

int Init(void)
{
    if ((CR1 & CR_LOCK) != 0) {
        KEYR1 = 0x45670123u;
        KEYR1 = 0xCDEF89ABu;
    }
    CCR1 = SR_ERRORS;
    return (CR1 & CR_LOCK) == 0;
}

int SectorErase(uint32_t start, uint32_t end)
{
    if (start < BASE || end >= BASE + SIZE || start > end) {
        return 0;
    }
    CR1 = CR_SER;
    CR1 = CR_SER | CR_START;
    int succeeded = done();
    CR1 = 0;
    return succeeded;
}

/* What of the last flash word is not given stays erased. */
int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
    int succeeded = address % FLASH_WORD == 0;

    CR1 = CR_PG;
    for (uint32_t at = 0; succeeded && at < size; at += FLASH_WORD) {
        for (uint32_t place = at; place < at + FLASH_WORD; place += 4) {
            uint32_t word = 0;

            for (uint32_t byte = 0; byte < 4; byte++) {
                word |= (uint32_t)(place + byte < size ? buffer[place + byte] : 0xFFu) << 8 * byte;
            }
            REGISTER(address + place) = word;
        }
        succeeded = done();
    }
    CR1 = 0;
    return succeeded;
}
