// Digests and checksums of many pieces of memory in one call, on any Cortex-M (Armv6-M Thumb, no more).
//
// A digest takes 2.36 instructions a byte: single loads, where LDM would save 0.15, because every Cortex-M and every
// emulator of one has them at full speed.
//
// Position independent, runs from RAM, reads not one byte outside the pieces, uses 60 bytes of stack (checked_call 84,
// and its function's), keeps r4 to r11 (AAPCS). Built by scripts/build-routines into gdbflash/onchip/routine_code.py;
// gdbflash/onchip/digest.py is the other half.
//
//   int digests(const run *runs, result *results, function *read);
//   int checksum(const run *runs, state *state, function *read);
//   int checked_call(u32 r0, u32 r1, u32 r2);
//
// struct run { u32 address, size, step, buffer, poison, border; }: size bytes from address on, in pieces of step bytes (the last one
// may be shorter); a run of size 0 ends the list. Where buffer is 0 a piece is taken where it lies; else a loader's
// Read(address, size, buffer) fetches each piece first, from the border below it to the border behind it: border is a
// power of two less one, buffer a multiple of 8 and as long as step and two borders, rounded up to 8. A run of step 0
// is one piece that is fetched and nothing more. digests stores a, b, c (12 bytes) for each other piece; checksum goes
// on from state, CRC-32 and byte sum, and updates it.
// Returns r0 = 1, or at once whatever Read returned instead of 1; r1 = end of the results written.
//
// struct check { function *function; const run *runs; result *results; const result *expected; u32 held; } lies behind
// the key: checked_call calls function(r0, r1, r2) if the digests of runs are the expected ones, and returns what it
// returns; held is 1 then. Else it returns 0.

        .syntax unified
        .cpu    cortex-m0
        .thumb
        .text

        .global digests
        .thumb_func
digests:
digests_here:                           // a branch to a global symbol would be left to a linker
        push    {r4-r7, lr}
        adr     r3, digest_piece
        b       start

        .balign 4
        .global checksum
        .thumb_func
checksum:
        push    {r4-r7, lr}
        adr     r3, checksum_piece

// r4 address, r5 bytes left of the run, r6 results, r7 run, r8 what is done with a piece, r10 Read; r9 stays: a loader's
// Read may need it.
start:
        mov     r4, r8
        mov     r5, r10
        push    {r3-r5}                 // [sp]: size of the piece at hand; 8-byte aligned for Read
        adds    r3, #1                  // Thumb
        mov     r8, r3
        mov     r10, r2
        mov     r7, r0
        mov     r6, r1
next_run:
        ldr     r4, [r7]
        ldr     r5, [r7, #4]
        cmp     r5, #0
        beq     all_done
next_piece:
        ldr     r1, [r7, #8]
        cmp     r1, #0
        beq     whole_run
        cmp     r1, r5
        bls     size_known
whole_run:
        mov     r1, r5
size_known:
        str     r1, [sp]
        mov     r0, r4
        ldr     r3, [r7, #12]
        cmp     r3, #0
        beq     in_place
// What the buffer held before must not pass for what Read read: poison, another one each time, is in every word, 5
// instructions for 8 bytes.
        ldr     r3, [r7, #20]
        movs    r0, r4
        bics    r0, r3                  // where Read begins
        subs    r2, r4, r0
        adds    r1, r1, r2
        adds    r1, r1, r3
        bics    r1, r3                  // how much it reads
        push    {r0, r1}
        ldr     r2, [r7, #12]
        ldr     r3, [r7, #16]
        adds    r0, r2, r1
poison:
        str     r3, [r2]
        str     r3, [r2, #4]
        adds    r2, #8
        cmp     r2, r0
        blo     poison
        pop     {r0, r1}
        ldr     r2, [r7, #12]
        blx     r10
        cmp     r0, #1
        bne     return
        ldr     r1, [r7, #8]
        cmp     r1, #0
        beq     run_done
        ldr     r0, [r7, #20]
        ands    r0, r4
        ldr     r1, [r7, #12]
        adds    r0, r0, r1
in_place:
        ldr     r1, [sp]
        adds    r4, r4, r1
        subs    r5, r5, r1
        mov     r2, r6
        blx     r8
        mov     r6, r0
        cmp     r5, #0
        bne     next_piece
run_done:
        adds    r7, #24
        b       next_run
all_done:
        movs    r0, #1
return:
        mov     r1, r6
        pop     {r3-r5}
        mov     r8, r4
        mov     r10, r5
        pop     {r4-r7, pc}

// result *digest_piece(const void *address, u32 size, result *result): returns the place of the next result.
// r0 address, r1 a, r2 b, lr c, r3 word, r5 P, r6 Q, r7 rotation, r12 where the loop at hand ends; [sp] end.
        .macro  absorb word             // 8 instructions for 4 bytes
        muls    \word, r5, \word
        adds    r1, r1, \word
        rors    r1, r7
        muls    r1, r6, r1
        adds    r2, r2, r1
        rors    r2, r7
        muls    r2, r6, r2
        add     lr, r2
        .endm

        .balign 4
        .thumb_func
digest_piece:
        push    {r2, r4-r7, lr}
        mov     lr, r1                  // c begins as the size: zeros behind the end make another digest
        adds    r3, r0, r1
        push    {r3}
        adr     r7, key
        ldmia   r7!, {r1, r2, r5, r6}
        movs    r7, #19
        cmp     r0, r3
        beq     whole_words             // of which an empty piece has none
        lsls    r3, r0, #30
        beq     whole_words
        b       part_word

whole_words:
        ldr     r3, [sp]
        subs    r3, r3, r0
        lsrs    r3, r3, #5
        lsls    r3, r3, #5
        beq     single_words
        adds    r3, r3, r0
        mov     r12, r3
eight_words:
        .set    offset, 0
        .rept   8
        ldr     r3, [r0, #offset]
        absorb  r3
        .set    offset, offset + 4
        .endr
        adds    r0, #32
        cmp     r0, r12
        bne     eight_words
single_words:
        ldr     r3, [sp]
        subs    r3, r3, r0
        lsrs    r3, r3, #2
        lsls    r3, r3, #2
        adds    r3, r3, r0
        mov     r12, r3
        b       single_word_check
single_word:
        ldr     r3, [r0]
        adds    r0, #4
        absorb  r3
single_word_check:
        cmp     r0, r12
        bne     single_word

        ldr     r3, [sp]
        cmp     r0, r3
        beq     digest_done
// The bytes up to the next word or the end, at their places in a word that is 0 elsewhere.
part_word:
        ldr     r3, [sp]
        mov     r12, r3
        movs    r3, #0
part_byte:
        ldrb    r4, [r0]
        lsls    r7, r0, #30
        lsrs    r7, r7, #27
        lsls    r4, r7
        orrs    r3, r4
        adds    r0, #1
        cmp     r0, r12
        beq     part_done
        lsls    r7, r0, #30
        bne     part_byte
part_done:
        movs    r7, #19
        absorb  r3
        cmp     r0, r12
        beq     digest_done
        b       whole_words

digest_done:
        pop     {r3, r4}                // end, result
        mov     r3, lr
        str     r1, [r4]
        str     r2, [r4, #4]
        str     r3, [r4, #8]
        mov     r0, r4
        adds    r0, #12
        pop     {r4-r7, pc}

// state *checksum_piece(const void *address, u32 size, state *state): CRC-32 of zlib (reflected 0x04C11DB7) and byte
// sum, both as they are between two pieces: inverted where zlib inverts. Returns state.
// r0 address, r1 end, r2 state, r3 CRC, r4 byte or table entry, r5 table, r6 sum.
        .macro  nibble
        lsls    r4, r3, #28
        lsrs    r4, r4, #26
        ldr     r4, [r5, r4]
        lsrs    r3, r3, #4
        eors    r3, r4
        .endm

        .balign 4
        .thumb_func
checksum_piece:
        push    {r4-r6, lr}
        adds    r1, r1, r0
        ldr     r3, [r2]
        ldr     r6, [r2, #4]
        mvns    r3, r3
        adr     r5, nibbles
        b       checksum_check
checksum_byte:                          // 16 instructions a byte
        ldrb    r4, [r0]
        adds    r0, #1
        adds    r6, r6, r4
        eors    r3, r4
        nibble
        nibble
checksum_check:
        cmp     r0, r1
        bne     checksum_byte
        mvns    r3, r3
        str     r3, [r2]
        str     r6, [r2, #4]
        mov     r0, r2
        pop     {r4-r6, pc}

        .set    FUNCTION, 0
        .set    RUNS, 4
        .set    RESULTS, 8
        .set    EXPECTED, 12
        .set    HELD, 16

        .balign 4
        .global checked_call
        .thumb_func
checked_call:
        push    {r0-r2, r4, r5, lr}
        adr     r4, check
        ldr     r0, [r4, #RUNS]
        ldr     r1, [r4, #RESULTS]
        movs    r2, #0
        bl      digests_here
        ldr     r0, [r4, #RESULTS]
        ldr     r2, [r4, #EXPECTED]
compare:
        cmp     r0, r1
        beq     all_equal
        ldmia   r0!, {r3}
        ldmia   r2!, {r5}
        cmp     r3, r5
        beq     compare
        add     sp, #12
        movs    r0, #0
        pop     {r4, r5, pc}
all_equal:
        movs    r3, #1
        str     r3, [r4, #HELD]
        ldr     r4, [r4, #FUNCTION]
        pop     {r0-r2}
        movs    r3, #0
        blx     r4
        pop     {r4, r5, pc}

        .balign 4
nibbles:                                // the CRC register after four steps from 0 to 15
        .word   0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC
        .word   0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C
        .word   0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C
        .word   0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C

key:                                    // what follows is written by the host: a, b, P, Q (P and Q are odd)
        .set    check, key + 16         // and tables
