"""The STM32H750 round the core: memory map, peripherals, internal flash, and the QUADSPI controller."""
