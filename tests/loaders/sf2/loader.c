/*
 * External loader: S25FL128S at SPI0 of a SmartFusion2 M2S010, as on QEMU's machine emcraft-sf2.
 *
 * The chip is not mapped anywhere: 0xC0000000, where nothing is, is only the name by which hosts call its first byte,
 * and Read is the only way to its content.
 *
 * The controller drives chip select: low from the first frame to the last of as many as the CONTROL register says.
 * Sources: SmartFusion2 MSS user guide UG0331, chapters "SPI" and "System Register Block"; S25FL128S data sheet
 * 001-98283, chapter "Commands".
 *
 *   HANGS_IN_INIT, HANGS_IN_WRITE   never returns
 *   FAULTS_IN_ERASE                 reads where nothing is: a precise bus fault
 */
#include <stdbool.h>

#include "external_loader.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define BASE 0xC0000000u
#define SIZE 0x1000000u
#define SECTOR 0x10000u
#define PAGE 256u

#define SOFT_RESET_CR REGISTER(0x40038048u)
#define SOFT_RESET_SPI0 (1u << 9)

struct spi {
    volatile uint32_t CONTROL, TXRXDF_SIZE, STATUS, INT_CLEAR, RX_DATA, TX_DATA, CLK_GEN, SLAVE_SELECT;
};

#define SPI0 ((struct spi *)0x40001000u)
#define SPI_CONTROL_ENABLE (1u << 0)
#define SPI_CONTROL_MASTER (1u << 1)
#define SPI_CONTROL_FRAMES(count) ((count) << 8)
#define SPI_CONTROL_SPS (1u << 26)     /* slave select stays low between the frames of a transfer */
#define SPI_CONTROL_BIGFIFO (1u << 29) /* FIFOs of 32 frames of 8 bits */
#define SPI_STATUS_RX_EMPTY (1u << 6)
#define SPI_MOST_FRAMES 0xFFFFu
#define SPI_FIFO_FRAMES 32u

#define NOTHING_HERE BASE

IN_INFO_SEGMENT const struct storage_info StorageInfo = {
    .name = "S25FL128S_M2S010",
    .type = SPI_FLASH,
    .start = BASE,
    .size = SIZE,
    .page_size = PAGE,
    .erased_value = 0xFF,
    .sectors = {{SIZE / SECTOR, SECTOR}},
};

enum {
    PAGE_PROGRAM = 0x02,
    READ_BYTES = 0x03,
    READ_STATUS = 0x05,
    WRITE_ENABLE = 0x06,
    BULK_ERASE = 0xC7,
    READ_JEDEC_ID = 0x9F,
    SECTOR_ERASE = 0xD8,
};

#define STATUS_WIP 0x01u
#define STATUS_WEL 0x02u
#define HEADER_FRAMES 4u /* an opcode and 24 bits of address */

/* More than the frames of any transfer take at any clock, and enough for a bulk erase (165 s at 25 MHz). */
#define STATUS_READS 300000000u
#define FLAG_READS 1000000u

__attribute__((unused)) static void hang(void)
{
    for (;;) {
        __asm volatile("nop");
    }
}

/*
 * Transfer opcode, address (where header_frames is 4) and size bytes in one go. Bytes come from out, 0 where it is
 * null, and go to in where it is not.
 */
static bool transfer(uint32_t header, uint32_t header_frames, const uint8_t *out, uint8_t *in, uint32_t size)
{
    uint32_t frames = header_frames + size;
    uint32_t sent = 0;
    uint32_t received = 0;

    /* The count is taken over as the controller is enabled. */
    SPI0->CONTROL = SPI_CONTROL_MASTER | SPI_CONTROL_SPS | SPI_CONTROL_BIGFIFO;
    SPI0->CONTROL = SPI_CONTROL_MASTER | SPI_CONTROL_SPS | SPI_CONTROL_BIGFIFO | SPI_CONTROL_FRAMES(frames) |
                    SPI_CONTROL_ENABLE;
    while (received < frames) {
        uint32_t end = frames - sent < SPI_FIFO_FRAMES ? frames : sent + SPI_FIFO_FRAMES;

        for (; sent < end; sent++) {
            if (sent < header_frames) {
                SPI0->TX_DATA = header >> (24 - 8 * sent) & 0xFFu;
            } else {
                SPI0->TX_DATA = out ? out[sent - header_frames] : 0;
            }
        }
        for (; received < end; received++) {
            for (uint32_t n = 0; SPI0->STATUS & SPI_STATUS_RX_EMPTY; n++) {
                if (n == FLAG_READS) {
                    return false;
                }
            }
            uint32_t frame = SPI0->RX_DATA;
            if (received >= header_frames && in) {
                in[received - header_frames] = (uint8_t)frame;
            }
        }
    }
    return true;
}

static bool send(uint8_t opcode)
{
    return transfer((uint32_t)opcode << 24, 1, 0, 0, 0);
}

static bool send_address(uint8_t opcode, uint32_t address, const uint8_t *out, uint8_t *in, uint32_t size)
{
    return transfer((uint32_t)opcode << 24 | (address & (SIZE - 1u)), HEADER_FRAMES, out, in, size);
}

static uint8_t read_status(void)
{
    uint8_t status = 0xFF; /* as from a bus that nobody drives */

    transfer((uint32_t)READ_STATUS << 24, 1, 0, &status, 1);
    return status;
}

static bool wait_ready(void)
{
    for (uint32_t n = STATUS_READS; n != 0; n--) {
        if (!(read_status() & STATUS_WIP)) {
            return true;
        }
    }
    return false;
}

static bool enable_write(void)
{
    return send(WRITE_ENABLE) && (read_status() & STATUS_WEL);
}

static bool contains(uint32_t address, uint32_t size)
{
    return address >= BASE && size <= SIZE && address - BASE <= SIZE - size;
}

int Init(void)
{
    uint8_t id[3] = {0};

#ifdef HANGS_IN_INIT
    hang();
#endif
    SOFT_RESET_CR |= SOFT_RESET_SPI0;
    SOFT_RESET_CR &= ~SOFT_RESET_SPI0;
    SPI0->CONTROL = 0; /* out of its own reset, and disabled: the frame size is taken over only then */
    SPI0->TXRXDF_SIZE = 8;
    SPI0->CLK_GEN = 7;
    SPI0->SLAVE_SELECT = 1;
    if (!transfer((uint32_t)READ_JEDEC_ID << 24, 1, 0, id, sizeof id) || !wait_ready()) {
        return 0;
    }
    return id[0] == 0x01 && id[1] == 0x20 && id[2] == 0x18;
}

int Read(uint32_t address, uint32_t size, uint8_t *buffer)
{
    if (!contains(address, size)) {
        return 0;
    }
    while (size != 0) {
        uint32_t chunk = size < SPI_MOST_FRAMES - HEADER_FRAMES ? size : SPI_MOST_FRAMES - HEADER_FRAMES;

        if (!send_address(READ_BYTES, address, 0, buffer, chunk)) {
            return 0;
        }
        address += chunk;
        buffer += chunk;
        size -= chunk;
    }
    return 1;
}

int Write(uint32_t address, uint32_t size, const uint8_t *buffer)
{
#ifdef HANGS_IN_WRITE
    hang();
#endif
    if (!contains(address, size)) {
        return 0;
    }
    while (size != 0) {
        uint32_t chunk = PAGE - address % PAGE;

        if (chunk > size) {
            chunk = size;
        }
        if (!enable_write() || !send_address(PAGE_PROGRAM, address, buffer, 0, chunk) || !wait_ready()) {
            return 0;
        }
        address += chunk;
        buffer += chunk;
        size -= chunk;
    }
    return 1;
}

int SectorErase(uint32_t start, uint32_t end)
{
#ifdef FAULTS_IN_ERASE
    (void)REGISTER(NOTHING_HERE);
#endif
    if (!contains(start, 1) || !contains(end, 1)) {
        return 0;
    }
    for (uint32_t address = start - start % SECTOR; address <= end; address += SECTOR) {
        if (!enable_write() || !send_address(SECTOR_ERASE, address, 0, 0, 0) || !wait_ready()) {
            return 0;
        }
    }
    return 1;
}

int MassErase(uint32_t parallelism)
{
    (void)parallelism;
    return enable_write() && send(BULK_ERASE) && wait_ready();
}

uint32_t CheckSum(uint32_t address, uint32_t size, uint32_t initial)
{
    uint8_t bytes[PAGE];

    if (!contains(address, size)) {
        return 0;
    }
    while (size != 0) {
        uint32_t chunk = size < sizeof bytes ? size : sizeof bytes;

        if (!Read(address, chunk, bytes)) {
            return 0;
        }
        for (uint32_t n = 0; n < chunk; n++) {
            initial += bytes[n];
        }
        address += chunk;
        size -= chunk;
    }
    return initial;
}
