"""A virtual STM32H750 board with a W25Q128 behind QUADSPI, for demos and tests.

It executes machine code (Unicorn) and models registers by ST's reference manual RM0433 and Winbond's W25Q128JV
data sheet, so that external loaders that nobody here wrote run on it. `machine` puts the parts together out of `cpu`,
`soc` and `chips`; `faces` let debuggers in and see nothing but `debug.DebugPort`, an ST-LINK through `coresight`;
`mishaps` go wrong on purpose. A new chip is a row in `chips.facts`, a new peripheral a module in `soc`. May import:
`errors` of the package, and nothing else of it.
"""
