"""What gdbflash costs, as ratios within one run: machines differ, what they make of one thing and another does not."""
