/*
 * The registers of the STM32H750 that the loader uses.
 * Source: ST RM0433 rev 8, sections 8.7 (RCC), 11.4 (GPIO) and 23.5 (QUADSPI).
 */
#ifndef STM32H750_H
#define STM32H750_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define RCC_CR REGISTER(0x58024400u)
#define RCC_CR_HSION (1u << 0)
#define RCC_CR_HSIRDY (1u << 2)
#define RCC_D1CCIPR REGISTER(0x5802444Cu)
#define RCC_D1CCIPR_QSPISEL (3u << 4)
#define RCC_D1CCIPR_QSPISEL_PER_CK (3u << 4)
#define RCC_D1CCIPR_CKPERSEL (3u << 28) /* 0: hsi_ker_ck */
#define RCC_AHB3RSTR REGISTER(0x5802447Cu)
#define RCC_AHB3ENR REGISTER(0x580244D4u)
#define RCC_AHB3_QSPI (1u << 14)
#define RCC_AHB4ENR REGISTER(0x580244E0u)
#define RCC_AHB4_GPIOB (1u << 1)
#define RCC_AHB4_GPIOF (1u << 5)

struct gpio {
    volatile uint32_t MODER, OTYPER, OSPEEDR, PUPDR, IDR, ODR, BSRR, LCKR, AFR[2];
};

#define GPIOB ((struct gpio *)0x58020400u)
#define GPIOF ((struct gpio *)0x58021400u)

struct quadspi {
    volatile uint32_t CR, DCR, SR, FCR, DLR, CCR, AR, ABR, DR, PSMKR, PSMAR, PIR, LPTR;
};

#define QUADSPI ((struct quadspi *)0x52005000u)
#define QUADSPI_DR_BYTE (*(volatile uint8_t *)&QUADSPI->DR) /* takes one byte off the FIFO, or adds one */
#define QUADSPI_FIFO_BYTES 32u

#define QUADSPI_CR_EN (1u << 0)
#define QUADSPI_CR_ABORT (1u << 1)
#define QUADSPI_CR_FTHRES(bytes) (((bytes) - 1u) << 8)
#define QUADSPI_CR_PRESCALER(divisor) (((divisor) - 1u) << 24)

#define QUADSPI_DCR_CSHT(clocks) (((clocks) - 1u) << 8)
#define QUADSPI_DCR_FSIZE(address_bits) (((address_bits) - 1u) << 16)

#define QUADSPI_SR_TEF (1u << 0)
#define QUADSPI_SR_TCF (1u << 1)
#define QUADSPI_SR_FTF (1u << 2)
#define QUADSPI_SR_BUSY (1u << 5)
#define QUADSPI_FCR_ALL 0x1Bu

/* The phases of a transaction, in CCR: lines are 1 (one), 2 (two) or 3 (four). */
#define QUADSPI_CCR_INSTRUCTION(lines, opcode) ((lines) << 8 | (opcode))
#define QUADSPI_CCR_ADDRESS_24(lines) ((lines) << 10 | 2u << 12)
#define QUADSPI_CCR_ALTERNATE_8(lines) ((lines) << 14)
#define QUADSPI_CCR_DUMMY(clocks) ((clocks) << 18)
#define QUADSPI_CCR_DATA(lines) ((lines) << 24)
#define QUADSPI_CCR_FMODE (3u << 26)
#define QUADSPI_CCR_WRITE (0u << 26)
#define QUADSPI_CCR_READ (1u << 26)
#define QUADSPI_CCR_MAPPED (3u << 26)
#define QUADSPI_CCR_FREE_RUNNING (1u << 29) /* only in the errata sheet */

#endif
