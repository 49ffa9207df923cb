/* A libusb-1.0 with one ST-LINK/V3 on the bus, whose commands travel to a stlink-server at 127.0.0.1:$STLINK_PORT.
 *
 * What belongs here: the calls of libusb that st-util makes, and nothing of what a probe or a target does. Facts: libusb's
 * API documentation; the frames are those of gdbflash/board/faces/stlinktcp.py.
 *
 * Over USB a command is 16 bytes out, and what follows, data out or data in, is a transfer of its own or nothing at all.
 * A stlink-server takes both at once; so a command waits here for its data, unless it is known to have none.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SUCCESS = 0, ERROR_IO = -1, ERROR_NO_DEVICE = -4, ERROR_NOT_FOUND = -5, ERROR_TIMEOUT = -7 };
enum { OPEN_DEVICE = 3, SEND_USB_COMMAND = 5, DEVICE = 1, STATUS_OK = 1 };
enum { DATA_OUT = 0, DATA_IN = 1, ENDPOINT_IN = 0x80, COMMAND_SIZE = 16 };

static const char SERIAL[] = "00476442464C415348303031";
static const uint8_t DESCRIPTOR[18] = {18, 1, 0, 2, 0, 0, 0, 64, 0x83, 0x04, 0x4F, 0x37, 0, 1, 1, 2, 3, 1};
static const uint8_t LANGUAGES[4] = {4, 3, 0x09, 0x04};

static int device, handle; /* what pointers to these stand for */
static int server = -1;
static uint32_t connection;
static uint8_t command[COMMAND_SIZE];
static int command_waits;

static int send_all(const void *data, size_t size)
{
    const uint8_t *next = data;
    while (size > 0) {
        ssize_t sent = send(server, next, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return ERROR_NO_DEVICE;
        next += sent;
        size -= (size_t)sent;
    }
    return SUCCESS;
}

static int receive_all(void *data, size_t size)
{
    return size == 0 || recv(server, data, size, MSG_WAITALL) == (ssize_t)size ? SUCCESS : ERROR_NO_DEVICE;
}

static int connect_to_server(void)
{
    const char *port = getenv("STLINK_PORT");
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t request[8] = {OPEN_DEVICE, 0, 0, 0, DEVICE};
    uint32_t reply[2];
    int one = 1;

    place.sin_port = htons((uint16_t)atoi(port ? port : "7184"));
    server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&place, sizeof place) != 0)
        return ERROR_NO_DEVICE;
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send_all(request, sizeof request) || receive_all(reply, sizeof reply) || reply[0] != STATUS_OK)
        return ERROR_NO_DEVICE;
    connection = reply[1];
    return SUCCESS;
}

/* Send the command that waits with its data, and take the answer. */
static int carry(int direction, uint8_t *data, uint32_t size)
{
    uint8_t frame[32] = {SEND_USB_COMMAND};
    uint32_t status;

    command_waits = 0;
    memcpy(frame + 4, &connection, 4);
    memcpy(frame + 8, command, COMMAND_SIZE);
    frame[24] = (uint8_t)direction;
    memcpy(frame + 28, &size, 4);
    if (send_all(frame, sizeof frame) || (direction == DATA_OUT && send_all(data, size)))
        return ERROR_NO_DEVICE;
    if (receive_all(&status, sizeof status) || (direction == DATA_IN && receive_all(data, size)))
        return ERROR_NO_DEVICE;
    return status == STATUS_OK ? SUCCESS : ERROR_TIMEOUT;
}

/* WRITEMEM of 32, 8 and 16 bits, and of 32 bits at one address. */
static int sends_data(void)
{
    return command[0] == 0xF2
        && (command[1] == 0x08 || command[1] == 0x0D || command[1] == 0x48 || command[1] == 0x50);
}

/* Leaving debug mode and leaving DFU mode. */
static int has_no_reply(void)
{
    return (command[0] == 0xF2 && command[1] == 0x21) || (command[0] == 0xF3 && command[1] == 0x07);
}

int libusb_bulk_transfer(void *at, unsigned char endpoint, unsigned char *data, int size, int *done, unsigned timeout)
{
    (void)at, (void)timeout;
    if (done)
        *done = size;
    if (endpoint & ENDPOINT_IN)
        return command_waits ? carry(DATA_IN, data, (uint32_t)size) : ERROR_TIMEOUT;
    if (command_waits)
        return sends_data() ? carry(DATA_OUT, data, (uint32_t)size) : ERROR_IO;
    if (size > COMMAND_SIZE)
        return ERROR_IO;
    memset(command, 0, sizeof command);
    memcpy(command, data, (size_t)size);
    command_waits = 1;
    return has_no_reply() ? carry(DATA_OUT, NULL, 0) : SUCCESS;
}

int libusb_open(void *of, void **opened)
{
    (void)of;
    *opened = &handle;
    return server < 0 ? connect_to_server() : SUCCESS;
}

void libusb_close(void *at) { (void)at; }

int libusb_init(void **context)
{
    if (context)
        *context = &device;
    return SUCCESS;
}

void libusb_exit(void *context) { (void)context; }

int libusb_set_option(void *context, int option, ...)
{
    (void)context, (void)option;
    return SUCCESS;
}

long libusb_get_device_list(void *context, void ***list)
{
    (void)context;
    *list = calloc(2, sizeof **list);
    if (*list == NULL)
        return ERROR_IO;
    (*list)[0] = &device;
    return 1;
}

void libusb_free_device_list(void **list, int unreference)
{
    (void)unreference;
    free(list);
}

int libusb_get_device_descriptor(void *of, uint8_t *descriptor)
{
    (void)of;
    memcpy(descriptor, DESCRIPTOR, sizeof DESCRIPTOR);
    return SUCCESS;
}

uint8_t libusb_get_bus_number(void *of) { return (void)of, 1; }
uint8_t libusb_get_device_address(void *of) { return (void)of, 1; }

void *libusb_open_device_with_vid_pid(void *context, uint16_t vendor, uint16_t product)
{
    (void)context, (void)vendor, (void)product;
    return NULL; /* the kinds that st-util looks for by these are older than V2 */
}

int libusb_get_string_descriptor_ascii(void *at, uint8_t index, unsigned char *text, int size)
{
    (void)at, (void)index;
    if (size < (int)sizeof SERIAL)
        return ERROR_IO;
    memcpy(text, SERIAL, sizeof SERIAL);
    return (int)sizeof SERIAL - 1;
}

/* GET_DESCRIPTOR alone is asked for: the languages (index 0), and the serial number in UTF-16. */
int libusb_control_transfer(
    void *at, uint8_t type, uint8_t request, uint16_t value, uint16_t index, unsigned char *data, uint16_t size,
    unsigned timeout)
{
    uint8_t reply[2 * sizeof SERIAL] = {2 * sizeof SERIAL, 3};
    const uint8_t *from = value & 0xFF ? reply : LANGUAGES;

    (void)at, (void)type, (void)request, (void)index, (void)timeout;
    for (size_t each = 0; each + 1 < sizeof SERIAL; each++)
        reply[2 + 2 * each] = (uint8_t)SERIAL[each];
    if (size > from[0])
        size = from[0];
    memcpy(data, from, size);
    return size;
}

int libusb_get_configuration(void *at, int *configuration)
{
    (void)at;
    *configuration = 1;
    return SUCCESS;
}

int libusb_set_configuration(void *at, int number) { return (void)at, (void)number, SUCCESS; }
int libusb_claim_interface(void *at, int number) { return (void)at, (void)number, SUCCESS; }
int libusb_release_interface(void *at, int number) { return (void)at, (void)number, SUCCESS; }
int libusb_kernel_driver_active(void *at, int number) { return (void)at, (void)number, 0; }
int libusb_detach_kernel_driver(void *at, int number) { return (void)at, (void)number, ERROR_NOT_FOUND; }
int libusb_clear_halt(void *at, unsigned char endpoint) { return (void)at, (void)endpoint, SUCCESS; }
int libusb_reset_device(void *at) { return (void)at, SUCCESS; }
const char *libusb_error_name(int error) { return (void)error, "error of the stand-in for libusb"; }
const char *libusb_strerror(int error) { return libusb_error_name(error); }
