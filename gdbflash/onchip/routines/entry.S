// The entry through which every function of a loader is called, on any Cortex-M (Armv6-M Thumb, no more).
//
// A debugger that writes registers through a probe may lose one unseen: some servers say so in their log only. So the
// debugger sets PC, and all else that a call starts with comes from a table in RAM, which is written as memory is, with
// its errors told. What came of the call is left there too, under the number that the host gave it: a result of an
// earlier call, or none, cannot be taken for it.
//
// Position independent, runs from RAM. Built by scripts/build-routines into gdbflash/onchip/routine_code.py; gdbflash/onchip/entry.py
// is the other half.
//
// struct table {
//     u32 number, sp, r9, primask, function, r0, r1, r2, r3, return_address;       // addresses with the Thumb bit
//     u32 entered, mode, result, result_high, returned;                            // zeros before the call
// };
// entered and returned become number before and after the function; mode is CONTROL | IPSR inside it, 0 as it should
// be. The other registers are 0 for the function (r12, psp, control), its LR comes back here, and flags are 0 at the
// return address.

        .syntax unified
        .cpu    cortex-m0
        .thumb
        .text

        .set    NUMBER, 0
        .set    SP_, 4
        .set    R9_, 8
        .set    PRIMASK_, 12
        .set    FUNCTION, 16
        .set    ARGUMENTS, 20
        .set    RETURN_ADDRESS, 36
        .set    ENTERED, 40
        .set    MODE, 44
        .set    RESULT, 48
        .set    RESULT_HIGH, 52
        .set    RETURNED, 56

        .global enter
        .thumb_func
enter:
        adr     r7, table
        movs    r4, #0
        msr     control, r4             // the main stack; a write without privilege does nothing, and mode tells
        isb
        msr     psp, r4
        ldr     r0, [r7, #SP_]
        mov     sp, r0
        ldr     r0, [r7, #R9_]
        mov     r9, r0
        ldr     r0, [r7, #PRIMASK_]
        msr     primask, r0
        mrs     r0, control
        mrs     r1, ipsr
        orrs    r0, r1
        str     r0, [r7, #MODE]
        ldr     r0, [r7, #NUMBER]
        str     r0, [r7, #ENTERED]
        adr     r0, returned
        adds    r0, #1                  // Thumb
        mov     lr, r0
        mov     r8, r4
        mov     r10, r4
        mov     r11, r4
        mov     r12, r4
        ldr     r0, [r7, #FUNCTION]
        push    {r0}                    // no register is left for the address
        ldr     r0, [r7, #ARGUMENTS]
        ldr     r1, [r7, #ARGUMENTS + 4]
        ldr     r2, [r7, #ARGUMENTS + 8]
        ldr     r3, [r7, #ARGUMENTS + 12]
        movs    r5, #0
        movs    r6, #0
        movs    r7, #0
        pop     {pc}

        .balign 4
returned:
        adr     r2, table
        str     r0, [r2, #RESULT]
        str     r1, [r2, #RESULT_HIGH]
        ldr     r3, [r2, #NUMBER]
        str     r3, [r2, #RETURNED]
        ldr     r3, [r2, #RETURN_ADDRESS]
        movs    r2, #0
        msr     apsr, r2                // so that the debugger need not set xPSR for the next call
        bx      r3

        .balign 4
table:                                  // what follows is written by the host
